// Package odrl reads, normalises, checks and prints the policies of the dataspace: the ODRL subset
// of the Dataspace Protocol 2025-1 (section 3.4) under a closed profile. It evaluates nothing.
package odrl
