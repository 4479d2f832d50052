-- What an issuer knows.
CREATE TABLE issuers (
  participant BIGINT PRIMARY KEY REFERENCES participants (id),
  since BIGINT NOT NULL
);
CREATE TABLE issuer_definitions (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE TABLE issuer_holders (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE INDEX issuer_holders_created ON issuer_holders (participant, created, id);
CREATE TABLE issuer_requests (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  holder TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('SUBMITTED', 'APPROVED', 'DELIVERED', 'REJECTED', 'ERRORED')),
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE INDEX issuer_requests_created ON issuer_requests (participant, created, id);
CREATE INDEX issuer_requests_holder ON issuer_requests (participant, holder, created);
CREATE INDEX issuer_requests_waiting ON issuer_requests (participant, created, id) WHERE state = 'SUBMITTED';
CREATE TABLE issuer_lists (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  profile TEXT NOT NULL,
  purpose TEXT NOT NULL,
  size BIGINT NOT NULL CHECK (size >= 131072),
  taken BIGINT NOT NULL CHECK (taken BETWEEN 0 AND size),
  bits BYTES NOT NULL CHECK (length(bits) * 8 = size),
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE INDEX issuer_lists_created ON issuer_lists (participant, profile, purpose, created, id);
CREATE TABLE issuer_credentials (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  holder TEXT NOT NULL,
  definition TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('ISSUED', 'SUSPENDED', 'REVOKED')),
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE INDEX issuer_credentials_created ON issuer_credentials (participant, created, id);
CREATE INDEX issuer_credentials_holder ON issuer_credentials (participant, holder, state, created, id);
-- Each place of each list is given out once.
CREATE TABLE issuer_places (
  participant BIGINT NOT NULL,
  list TEXT NOT NULL,
  idx BIGINT NOT NULL CHECK (idx >= 0),
  credential TEXT NOT NULL,
  PRIMARY KEY (participant, list, idx),
  FOREIGN KEY (participant, list) REFERENCES issuer_lists (participant, id),
  FOREIGN KEY (participant, credential) REFERENCES issuer_credentials (participant, id)
);
CREATE TABLE issuer_offers (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  holder TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('OWED', 'DELIVERED', 'ERRORED')),
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE INDEX issuer_offers_created ON issuer_offers (participant, created, id);
