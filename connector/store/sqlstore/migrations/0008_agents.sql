-- Tokens of one more role.
CREATE TABLE tokens_of_four_roles (
  hash TEXT PRIMARY KEY CHECK (length(hash) = 64),
  participant BIGINT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('operator', 'reader', 'auditor', 'agent')),
  label TEXT NOT NULL,
  created BIGINT NOT NULL,
  expires BIGINT NOT NULL
);
INSERT INTO tokens_of_four_roles (hash, participant, role, label, created, expires)
  SELECT hash, participant, role, label, created, expires FROM tokens;
DROP TABLE tokens;
ALTER TABLE tokens_of_four_roles RENAME TO tokens;
