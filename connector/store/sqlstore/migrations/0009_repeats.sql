-- A holder's same message is one request for as long as that is not over.
ALTER TABLE issuer_requests ADD COLUMN digest TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX issuer_requests_open ON issuer_requests (participant, holder, digest) WHERE digest <> '' AND state IN ('SUBMITTED', 'APPROVED');
