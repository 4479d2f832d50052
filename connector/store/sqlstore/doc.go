// Package sqlstore keeps the Store contract in SQL that SQLite and PostgreSQL both understand. store/embedded and store/postgres
// open the database and hand it over with a [Dialect]; nothing else differs.
//
// Writes go through one queue: what waits together is committed together, so that many callers share one sync of the disk. When one
// caller's part is refused, the group is rolled back and each part committed alone, so that nobody suffers for another. A lone writer
// does not wait.
//
// A row has columns for what is asked or constrained, and a document for the rest.
package sqlstore
