-- What waits for an operator is asked for by itself.
ALTER TABLE negotiations ADD COLUMN held TEXT NOT NULL DEFAULT '';
CREATE INDEX negotiations_held ON negotiations (participant, created, id) WHERE held <> '';
