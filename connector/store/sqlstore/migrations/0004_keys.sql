-- Keys, wrapped by a data key of their participant, which a master key wrapped that is not here. They are found by slug: they are there before
-- the participant is.
CREATE TABLE data_keys (
  slug TEXT PRIMARY KEY CHECK (length(slug) BETWEEN 1 AND 63),
  master TEXT NOT NULL CHECK (length(master) > 0),
  wrapped BYTES NOT NULL
);
CREATE TABLE keys (
  slug TEXT NOT NULL REFERENCES data_keys (slug),
  id TEXT NOT NULL,
  use TEXT NOT NULL,
  algorithm TEXT NOT NULL,
  generation BIGINT NOT NULL CHECK (generation > 0),
  state TEXT NOT NULL CHECK (state IN ('created', 'active', 'rotated', 'retired', 'revoked')),
  version BIGINT NOT NULL CHECK (version > 0),
  due BIGINT NOT NULL,
  until BIGINT NOT NULL,
  public BYTES NOT NULL,
  wrapped BYTES NOT NULL,
  created BIGINT NOT NULL,
  PRIMARY KEY (slug, id),
  UNIQUE (slug, use, generation),
  CHECK (length(wrapped) > 0 OR state NOT IN ('created', 'active')),
  CHECK (length(wrapped) = 0 OR state NOT IN ('retired', 'revoked'))
);
CREATE UNIQUE INDEX keys_active ON keys (slug, use) WHERE state = 'active';
CREATE UNIQUE INDEX keys_next ON keys (slug, use) WHERE state = 'created';
