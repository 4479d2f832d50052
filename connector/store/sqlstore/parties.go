package sqlstore

import (
	"context"
	"time"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
)

// CreateParticipant implements store.Participants.
func (s *Store) CreateParticipant(ctx context.Context, p participant.Participant) (participant.Participant, error) {
	if err := participant.ValidSlug(p.Slug); err != nil {
		return p, fault.New("store.CreateParticipant", fault.Malformed, "%s", err.Error())
	}
	err := s.update(ctx, func(ctx context.Context, t *tx) error {
		var id int64
		err := t.row(ctx, []any{&id}, `INSERT INTO participants (id, slug, did, name, created)
			SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4 FROM participants RETURNING id`, p.Slug, string(p.DID), p.Name, micros(p.Created))
		p.ID = participant.ID(id)
		return err
	})
	return p, err
}

func scanParticipant(row scanner) (participant.Participant, error) {
	var p participant.Participant
	var id, created int64
	var did string
	err := row.Scan(&id, &p.Slug, &did, &p.Name, &created)
	p.ID, p.DID, p.Created = participant.ID(id), participant.DID(did), fromMicros(created)
	return p, err
}

// Participant implements store.Participants.
func (s *Store) Participant(ctx context.Context, slug string) (participant.Participant, error) {
	var p participant.Participant
	err := s.get(ctx, func(row scanner) (err error) {
		p, err = scanParticipant(row)
		return err
	}, `SELECT id, slug, did, name, created FROM participants WHERE slug = $1`, slug)
	return p, err
}

// Participants implements store.Participants.
func (s *Store) Participants(ctx context.Context) ([]participant.Participant, error) {
	var out []participant.Participant
	err := s.query(ctx, func(row scanner) error {
		p, err := scanParticipant(row)
		out = append(out, p)
		return err
	}, `SELECT id, slug, did, name, created FROM participants ORDER BY id`)
	return out, err
}

// PutToken implements store.Tokens.
func (s *Store) PutToken(ctx context.Context, k store.Token) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		t.exec(`INSERT INTO tokens (hash, participant, role, label, created, expires) VALUES ($1, $2, $3, $4, $5, $6)`,
			k.Hash, int64(k.Participant), k.Role, k.Label, micros(k.Created), micros(k.Expires))
		return nil
	})
}

func scanToken(row scanner) (store.Token, error) {
	var k store.Token
	var p, created, expires int64
	err := row.Scan(&k.Hash, &p, &k.Role, &k.Label, &created, &expires)
	k.Participant, k.Created, k.Expires = participant.ID(p), fromMicros(created), fromMicros(expires)
	return k, err
}

// Token implements store.Tokens.
func (s *Store) Token(ctx context.Context, hash string) (store.Token, error) {
	var k store.Token
	err := s.get(ctx, func(row scanner) (err error) {
		k, err = scanToken(row)
		return err
	}, `SELECT hash, participant, role, label, created, expires FROM tokens WHERE hash = $1`, hash)
	return k, err
}

// Tokens implements store.Tokens.
func (s *Store) Tokens(ctx context.Context, p participant.ID) ([]store.Token, error) {
	var out []store.Token
	err := s.query(ctx, func(row scanner) error {
		k, err := scanToken(row)
		out = append(out, k)
		return err
	}, `SELECT hash, participant, role, label, created, expires FROM tokens WHERE participant = $1 ORDER BY created, hash`, int64(p))
	return out, err
}

// DeleteToken implements store.Tokens.
func (s *Store) DeleteToken(ctx context.Context, p participant.ID, hash string) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		t.one(errAbsent("store.DeleteToken", hash), `DELETE FROM tokens WHERE participant = $1 AND hash = $2`, int64(p), hash)
		return nil
	})
}

func errAbsent(op, subject string) error {
	return &fault.Error{Op: op, Kind: fault.NotFound, Subject: subject}
}

func errStale(op, subject string) error {
	return &fault.Error{Op: op, Kind: fault.Conflict, Subject: subject, Reason: "it was changed meanwhile; read it again"}
}

// Remember implements store.Replay.
func (s *Store) Remember(ctx context.Context, issuer, jti string, until, now time.Time) (fresh bool, err error) {
	err = s.update(ctx, func(ctx context.Context, t *tx) error {
		known, err := t.w.remember(ctx, []*commit.Used{{Issuer: issuer, ID: jti, Until: until, Now: now}})
		fresh = err == nil && !known[0]
		return err
	})
	return fresh && err == nil, err
}

const (
	sweepEach = 32 // new ids
	sweepMost = 64 // expired ones
)

// remember adds the ids of tokens and tells which were known. What has expired is swept now and then, more than comes in.
func (w *writer) remember(ctx context.Context, tokens []*commit.Used) (known []bool, err error) {
	known = make([]bool, len(tokens))
	for from := 0; from < len(tokens); {
		n := 1
		if len(tokens)-from >= wide {
			n = wide
		}
		var args []any
		for _, u := range tokens[from : from+n] {
			args = append(args, u.Issuer, u.ID, micros(u.Until))
		}
		fresh := map[[2]string]bool{}
		err := w.query(ctx, func(row scanner) error {
			var id [2]string
			err := row.Scan(&id[0], &id[1])
			fresh[id] = true
			return err
		}, `INSERT INTO replay (issuer, jti, until) VALUES `+places(n, 3)+` ON CONFLICT DO NOTHING RETURNING issuer, jti`, args...)
		if err != nil {
			return nil, err
		}
		for i, u := range tokens[from : from+n] {
			id := [2]string{u.Issuer, u.ID}
			known[from+i] = !fresh[id]
			delete(fresh, id) // the same id again in one transaction is no longer new
		}
		from += n
	}
	if w.remembered += len(tokens); w.remembered >= sweepEach {
		w.remembered = 0
		w.exec(`DELETE FROM replay WHERE (issuer, jti) IN (SELECT issuer, jti FROM replay WHERE until < $1 ORDER BY until LIMIT $2)`,
			micros(tokens[0].Now), sweepMost)
	}
	return known, nil
}

// Answered implements store.Idempotency.
func (s *Store) Answered(ctx context.Context, p participant.ID, key string) (digest string, answer []byte, err error) {
	err = s.get(ctx, func(row scanner) error { return row.Scan(&digest, &answer) },
		`SELECT digest, answer FROM answers WHERE participant = $1 AND key = $2`, int64(p), key)
	return digest, answer, err
}

// Keep implements store.Idempotency.
func (s *Store) Keep(ctx context.Context, p participant.ID, key, digest string, answer []byte, now time.Time) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		t.one(fault.New("store.Keep", fault.Conflict, "the key has an answer"), `INSERT INTO answers (participant, key, digest, answer, created)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT (participant, key) DO UPDATE SET answer = excluded.answer
			WHERE answers.digest = excluded.digest AND length(answers.answer) = 0`, int64(p), key, digest, answer, micros(now))
		return nil
	})
}
