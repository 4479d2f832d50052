-- Entries are numbered as they are committed: nth, not the clock, orders them until they have their index.
CREATE TABLE log_entries_numbered (
  nth COUNTER,
  id TEXT NOT NULL UNIQUE CHECK (length(id) = 32),
  participant BIGINT NOT NULL REFERENCES participants (id),
  idx BIGINT CHECK (idx >= 0),
  kind TEXT NOT NULL,
  process TEXT NOT NULL,
  time BIGINT NOT NULL,
  bytes BYTES NOT NULL
);
INSERT INTO log_entries_numbered (id, participant, idx, kind, process, time, bytes)
  SELECT id, participant, idx, kind, process, time, bytes FROM log_entries ORDER BY idx IS NULL, idx, time, id;
DROP TABLE log_entries;
ALTER TABLE log_entries_numbered RENAME TO log_entries;
CREATE UNIQUE INDEX log_entries_idx ON log_entries (participant, idx) WHERE idx IS NOT NULL;
CREATE INDEX log_entries_tail ON log_entries (participant, nth) WHERE idx IS NULL;
CREATE INDEX log_entries_process ON log_entries (participant, process, nth) WHERE process <> '';
CREATE INDEX log_entries_activated ON log_entries (participant, nth) WHERE kind = 'bundle.activate';
-- The participants whose log has not yet answered for the restore that filled the database.
CREATE TABLE restores (
  participant BIGINT PRIMARY KEY REFERENCES participants (id),
  at BIGINT NOT NULL,
  recorded BIGINT NOT NULL CHECK (recorded IN (0, 1))
);
