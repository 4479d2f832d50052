-- The first schema. Times are microseconds since 1970, UTC. BYTES stands for the database's type of bytes.
CREATE TABLE participants (
  id BIGINT PRIMARY KEY CHECK (id > 0),
  slug TEXT NOT NULL UNIQUE CHECK (length(slug) BETWEEN 1 AND 63),
  did TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  created BIGINT NOT NULL
);
CREATE TABLE tokens (
  hash TEXT PRIMARY KEY CHECK (length(hash) = 64),
  participant BIGINT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('operator', 'reader', 'auditor')),
  label TEXT NOT NULL,
  created BIGINT NOT NULL,
  expires BIGINT NOT NULL
);
CREATE TABLE credentials (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  doc TEXT NOT NULL,
  created BIGINT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE TABLE assets (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  type TEXT NOT NULL,
  semantic_id TEXT NOT NULL,
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE INDEX assets_created ON assets (participant, created, id);
CREATE TABLE contents (
  participant BIGINT NOT NULL REFERENCES participants (id),
  digest TEXT NOT NULL CHECK (length(digest) = 64),
  media_type TEXT NOT NULL,
  created BIGINT NOT NULL,
  bytes BYTES NOT NULL,
  PRIMARY KEY (participant, digest)
);
CREATE TABLE policies (
  participant BIGINT NOT NULL REFERENCES participants (id),
  digest TEXT NOT NULL CHECK (length(digest) = 64),
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, digest)
);
CREATE TABLE rules (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  created BIGINT NOT NULL,
  access_policy TEXT NOT NULL,
  usage_policy TEXT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id),
  FOREIGN KEY (participant, access_policy) REFERENCES policies (participant, digest),
  FOREIGN KEY (participant, usage_policy) REFERENCES policies (participant, digest)
);
CREATE TABLE offers (
  participant BIGINT NOT NULL,
  id TEXT NOT NULL,
  asset TEXT NOT NULL,
  rule TEXT NOT NULL,
  access_policy TEXT NOT NULL,
  usage_policy TEXT NOT NULL,
  created BIGINT NOT NULL,
  PRIMARY KEY (participant, id),
  UNIQUE (participant, asset, rule),
  FOREIGN KEY (participant, asset) REFERENCES assets (participant, id),
  FOREIGN KEY (participant, rule) REFERENCES rules (participant, id)
);
CREATE INDEX offers_access ON offers (participant, access_policy, created, id);
CREATE TABLE negotiations (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  role TEXT NOT NULL CHECK (role IN ('provider', 'consumer')),
  peer TEXT NOT NULL,
  peer_pid TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('INITIAL', 'REQUESTED', 'OFFERED', 'ACCEPTED', 'AGREED', 'VERIFIED', 'FINALIZED', 'TERMINATED')),
  asset TEXT NOT NULL,
  agreement TEXT NOT NULL,
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE UNIQUE INDEX negotiations_peer_pid ON negotiations (participant, peer, role, peer_pid) WHERE peer_pid <> '';
CREATE INDEX negotiations_created ON negotiations (participant, created, id);
CREATE INDEX negotiations_open ON negotiations (participant, peer) WHERE state NOT IN ('FINALIZED', 'TERMINATED');
CREATE TABLE agreements (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  negotiation TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('provider', 'consumer')),
  peer TEXT NOT NULL,
  asset TEXT NOT NULL,
  digest TEXT NOT NULL CHECK (length(digest) = 64),
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id),
  UNIQUE (participant, negotiation)
);
CREATE INDEX agreements_asset ON agreements (participant, peer, asset);
CREATE INDEX agreements_created ON agreements (participant, created, id);
CREATE TABLE retirements (
  participant BIGINT NOT NULL,
  agreement TEXT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, agreement),
  FOREIGN KEY (participant, agreement) REFERENCES agreements (participant, id)
);
CREATE TABLE transfers (
  participant BIGINT NOT NULL REFERENCES participants (id),
  id TEXT NOT NULL,
  version BIGINT NOT NULL CHECK (version > 0),
  role TEXT NOT NULL CHECK (role IN ('provider', 'consumer')),
  peer TEXT NOT NULL,
  peer_pid TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('INITIAL', 'REQUESTED', 'STARTED', 'SUSPENDED', 'COMPLETED', 'TERMINATED')),
  agreement TEXT NOT NULL,
  token_hash TEXT NOT NULL,
  created BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, id)
);
CREATE UNIQUE INDEX transfers_peer_pid ON transfers (participant, peer, role, peer_pid) WHERE peer_pid <> '';
CREATE UNIQUE INDEX transfers_token ON transfers (participant, token_hash) WHERE token_hash <> '';
CREATE INDEX transfers_created ON transfers (participant, created, id);
CREATE INDEX transfers_agreement ON transfers (participant, agreement);
CREATE INDEX transfers_open ON transfers (participant, peer) WHERE state NOT IN ('COMPLETED', 'TERMINATED');
CREATE TABLE owed (
  id TEXT PRIMARY KEY,
  participant BIGINT NOT NULL REFERENCES participants (id),
  process TEXT NOT NULL CHECK (process IN ('negotiation', 'transfer')),
  process_id TEXT NOT NULL,
  due BIGINT NOT NULL,
  attempt BIGINT NOT NULL CHECK (attempt >= 0),
  doc TEXT NOT NULL,
  UNIQUE (participant, process, process_id)
);
CREATE INDEX owed_due ON owed (due, id);
CREATE TABLE event_heads (
  participant BIGINT PRIMARY KEY REFERENCES participants (id),
  seq BIGINT NOT NULL CHECK (seq >= 0)
);
CREATE TABLE events (
  participant BIGINT NOT NULL,
  seq BIGINT NOT NULL CHECK (seq > 0),
  doc TEXT NOT NULL,
  PRIMARY KEY (participant, seq)
);
CREATE TABLE replay (
  issuer TEXT NOT NULL,
  jti TEXT NOT NULL,
  until BIGINT NOT NULL,
  PRIMARY KEY (issuer, jti)
);
CREATE INDEX replay_until ON replay (until);
CREATE TABLE answers (
  participant BIGINT NOT NULL,
  key TEXT NOT NULL,
  digest TEXT NOT NULL,
  answer BYTES NOT NULL,
  created BIGINT NOT NULL,
  PRIMARY KEY (participant, key)
);
CREATE TABLE log_entries (
  id TEXT PRIMARY KEY CHECK (length(id) = 32),
  participant BIGINT NOT NULL REFERENCES participants (id),
  idx BIGINT CHECK (idx >= 0),
  kind TEXT NOT NULL,
  process TEXT NOT NULL,
  time BIGINT NOT NULL,
  bytes BYTES NOT NULL
);
CREATE UNIQUE INDEX log_entries_idx ON log_entries (participant, idx) WHERE idx IS NOT NULL;
CREATE INDEX log_entries_tail ON log_entries (participant, time, id) WHERE idx IS NULL;
CREATE INDEX log_entries_process ON log_entries (participant, process, time) WHERE process <> '';
CREATE TABLE log_heads (
  participant BIGINT PRIMARY KEY REFERENCES participants (id),
  size BIGINT NOT NULL CHECK (size >= 0),
  hashes BYTES NOT NULL,
  fence BIGINT NOT NULL
);
CREATE TABLE archive (
  participant BIGINT NOT NULL,
  digest TEXT NOT NULL CHECK (length(digest) = 64),
  type TEXT NOT NULL,
  bytes BYTES NOT NULL,
  PRIMARY KEY (participant, digest)
);
