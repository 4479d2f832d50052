-- What wallets ask for and are offered, and who may have tokens made. Which kinds of process owe something is for their owners to say, not for a
-- list here: each of them would have to make the table anew.
ALTER TABLE credentials ADD COLUMN version BIGINT NOT NULL DEFAULT 1 CHECK (version > 0);
CREATE TABLE credential_requests (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  issuer TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('CREATED', 'REQUESTING', 'REQUESTED', 'ISSUED', 'REJECTED', 'ERROR')),
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE INDEX credential_requests_created ON credential_requests (participant, created, id);
CREATE INDEX credential_requests_open ON credential_requests (participant, issuer, created, id) WHERE state IN ('CREATED', 'REQUESTING', 'REQUESTED');
CREATE TABLE credential_offers (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  issuer TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('RECEIVED', 'ACCEPTED', 'DECLINED')),
  digest TEXT NOT NULL CHECK (length(digest) = 64),
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE INDEX credential_offers_created ON credential_offers (participant, created, id);
CREATE UNIQUE INDEX credential_offers_open ON credential_offers (participant, issuer, digest) WHERE state = 'RECEIVED';
CREATE TABLE token_clients (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE TABLE owed_by_any (
  id TEXT PRIMARY KEY,
  participant BIGINT NOT NULL REFERENCES participants (id),
  process TEXT NOT NULL CHECK (length(process) BETWEEN 1 AND 64),
  process_id TEXT NOT NULL,
  due BIGINT NOT NULL,
  attempt BIGINT NOT NULL CHECK (attempt >= 0),
  doc TEXT NOT NULL,
  UNIQUE (participant, process, process_id)
);
INSERT INTO owed_by_any (id, participant, process, process_id, due, attempt, doc)
  SELECT id, participant, process, process_id, due, attempt, doc FROM owed;
DROP TABLE owed;
ALTER TABLE owed_by_any RENAME TO owed;
CREATE INDEX owed_due ON owed (due, id);
