-- Whom a participant believes, whom it knows by number, and which partners it puts together.
ALTER TABLE participants ADD COLUMN profile TEXT NOT NULL DEFAULT '';
CREATE TABLE trusted (
  participant BIGINT PRIMARY KEY REFERENCES participants (id),
  digest TEXT NOT NULL CHECK (length(digest) = 64),
  doc TEXT NOT NULL
);
CREATE TABLE numbers (
  participant BIGINT NOT NULL REFERENCES participants (id),
  bpn TEXT NOT NULL CHECK (length(bpn) = 16),
  did TEXT NOT NULL,
  updated BIGINT NOT NULL,
  PRIMARY KEY (participant, bpn)
);
CREATE TABLE partner_groups (
  participant BIGINT NOT NULL REFERENCES participants (id),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
  version BIGINT NOT NULL CHECK (version > 0),
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, name)
);
