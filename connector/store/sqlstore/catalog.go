package sqlstore

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
)

func noVersion[T any](*T, int64) {}

// scanAsset scans (doc, version, created). The column says when it was created: the document is that of the last change.
func scanAsset(row scanner) (a catalog.Asset, err error) {
	a.Version, a.Created, err = scanShelved(row, &a)
	return a, err
}

// scanRule scans (doc, version, created), as scanAsset does.
func scanRule(row scanner) (r catalog.Rule, err error) {
	r.Version, r.Created, err = scanShelved(row, &r)
	return r, err
}

func scanShelved[T any](row scanner, v *T) (version int64, created time.Time, err error) {
	var doc string
	var since int64
	if err := row.Scan(&doc, &version, &since); err != nil {
		return 0, time.Time{}, err
	}
	return version, fromMicros(since), decode(doc, v)
}

// gather reads rows into a slice.
func gather[T any](ctx context.Context, query func(context.Context, func(scanner) error, string, ...any) error, scan func(scanner) (T, error),
	text string, args ...any) ([]T, error) {
	var out []T
	err := query(ctx, func(row scanner) error {
		v, err := scan(row)
		out = append(out, v)
		return err
	}, text, args...)
	return out, err
}

// Asset implements catalog.Store.
func (s *Store) Asset(ctx context.Context, p participant.ID, id string) (a catalog.Asset, err error) {
	err = s.get(ctx, func(row scanner) (err error) {
		a, err = scanAsset(row)
		return err
	}, `SELECT doc, version, created FROM assets WHERE participant = $1 AND id = $2`, int64(p), id)
	return a, err
}

// Assets implements catalog.Store.
func (s *Store) Assets(ctx context.Context, p participant.ID, r page.Request) (page.Of[catalog.Asset], error) {
	l := list{}
	l.and("participant = ?", int64(p))
	items, err := gather(ctx, s.query, scanAsset, l.paged("doc, version, created", "assets", r), l.args...)
	return cut(items, r, func(a catalog.Asset) page.Key { return page.Key{Created: a.Created, ID: a.ID} }), err
}

// PutAssets implements catalog.Store.
func (s *Store) PutAssets(ctx context.Context, p participant.ID, lot catalog.Lot, e commit.Effects) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		for _, d := range lot.Policies {
			d.Participant = p
			if err := t.putDefinition(d); err != nil {
				return err
			}
		}
		for _, r := range lot.Rules {
			r.Participant = p
			if err := t.putRule(ctx, r); err != nil {
				return err
			}
		}
		rules, err := gather(ctx, t.query, scanRule, `SELECT doc, version, created FROM rules WHERE participant = $1`, int64(p))
		if err != nil {
			return err
		}
		for _, c := range lot.Contents {
			t.exec(`INSERT INTO contents (participant, digest, media_type, created, bytes) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
				int64(p), c.Digest, c.MediaType, micros(c.Created), c.Bytes)
		}
		for _, a := range lot.Assets {
			a.Participant = p
			if err := t.putAsset(a, lot.Upsert); err != nil {
				return err
			}
			if err := t.offer(a, rules); err != nil {
				return err
			}
		}
		return t.effects(p, e)
	})
}

func (t *tx) putAsset(a catalog.Asset, upsert bool) error {
	old := a.Version
	a.Version = max(old, 0) + 1
	doc, err := encode(a)
	if err != nil {
		return err
	}
	if old > 0 {
		t.one(errStale("store.PutAssets", a.ID), `UPDATE assets SET version = $1, type = $2, semantic_id = $3, doc = $4
			WHERE participant = $5 AND id = $6 AND version = $7`, a.Version, a.Type, a.SemanticID, doc, int64(a.Participant), a.ID, old)
		return nil
	}
	insert := `INSERT INTO assets (participant, id, version, type, semantic_id, created, doc) VALUES ($1, $2, 1, $3, $4, $5, $6)`
	if upsert {
		insert += ` ON CONFLICT (participant, id) DO UPDATE SET version = assets.version + 1, type = excluded.type, semantic_id = excluded.semantic_id, doc = excluded.doc`
	}
	t.exec(insert, int64(a.Participant), a.ID, a.Type, a.SemanticID, micros(a.Created), doc)
	return nil
}

// offer keeps the asset's offers in step with the rules.
func (t *tx) offer(a catalog.Asset, rules []catalog.Rule) error {
	for _, r := range rules {
		if !r.Selector.Matches(a) {
			t.withdraw(a.Participant, a.ID, r.ID)
			continue
		}
		if err := t.materialise(a, r); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) withdraw(p participant.ID, asset, rule string) {
	t.exec(`DELETE FROM offers WHERE participant = $1 AND asset = $2 AND rule = $3`, int64(p), asset, rule)
}

func (t *tx) materialise(a catalog.Asset, r catalog.Rule) error {
	id, err := uuid.NewRandomFromReader(t.w.s.rand)
	if err != nil {
		return err
	}
	t.exec(`INSERT INTO offers (participant, id, asset, rule, access_policy, usage_policy, created) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (participant, asset, rule) DO NOTHING`, int64(a.Participant), id.URN(), a.ID, r.ID, r.Access, r.Usage, micros(later(a.Created, r.Created)))
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// DeleteAsset implements catalog.Store.
func (s *Store) DeleteAsset(ctx context.Context, p participant.ID, id string, version int64, e commit.Effects) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		t.exec(`DELETE FROM offers WHERE participant = $1 AND asset = $2`, int64(p), id)
		t.one(errStale("store.DeleteAsset", id), `DELETE FROM assets WHERE participant = $1 AND id = $2 AND version = $3`, int64(p), id, version)
		return t.effects(p, e)
	})
}

// Content implements catalog.Store.
func (s *Store) Content(ctx context.Context, p participant.ID, digest string) (catalog.Content, error) {
	c := catalog.Content{Digest: digest}
	var created int64
	err := s.get(ctx, func(row scanner) error { return row.Scan(&c.MediaType, &created, &c.Bytes) },
		`SELECT media_type, created, bytes FROM contents WHERE participant = $1 AND digest = $2`, int64(p), digest)
	c.Created = fromMicros(created)
	return c, err
}

// PutDefinition implements catalog.Store.
func (s *Store) PutDefinition(ctx context.Context, d catalog.Definition, e commit.Effects) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		if err := t.putDefinition(d); err != nil {
			return err
		}
		return t.effects(d.Participant, e)
	})
}

func (t *tx) putDefinition(d catalog.Definition) error {
	doc, err := encode(d)
	if err != nil {
		return err
	}
	t.exec(`INSERT INTO policies (participant, digest, created, doc) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		int64(d.Participant), d.Digest, micros(d.Created), doc)
	return nil
}

// Definition implements catalog.Store.
func (s *Store) Definition(ctx context.Context, p participant.ID, digest string) (catalog.Definition, error) {
	return one(ctx, s, noVersion[catalog.Definition], `SELECT doc, 0 FROM policies WHERE participant = $1 AND digest = $2`, int64(p), digest)
}

// Definitions implements catalog.Store.
func (s *Store) Definitions(ctx context.Context, p participant.ID, r page.Request) (page.Of[catalog.Definition], error) {
	l := list{id: "digest"}
	l.and("participant = ?", int64(p))
	items, err := documents(ctx, s, noVersion[catalog.Definition], l.paged("doc, 0", "policies", r), l.args...)
	return cut(items, r, func(d catalog.Definition) page.Key { return page.Key{Created: d.Created, ID: d.Digest} }), err
}

// PutRule implements catalog.Store.
func (s *Store) PutRule(ctx context.Context, r catalog.Rule, e commit.Effects) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		if err := t.putRule(ctx, r); err != nil {
			return err
		}
		return t.effects(r.Participant, e)
	})
}

func (t *tx) putRule(ctx context.Context, r catalog.Rule) error {
	old := r.Version
	r.Version = max(old, 0) + 1
	doc, err := encode(r)
	if err != nil {
		return err
	}
	if old == 0 {
		t.exec(`INSERT INTO rules (participant, id, version, created, access_policy, usage_policy, doc) VALUES ($1, $2, 1, $3, $4, $5, $6)`,
			int64(r.Participant), r.ID, micros(r.Created), r.Access, r.Usage, doc)
	} else {
		t.one(errStale("store.PutRule", r.ID), `UPDATE rules SET version = $1, access_policy = $2, usage_policy = $3, doc = $4
			WHERE participant = $5 AND id = $6 AND version = $7`, r.Version, r.Access, r.Usage, doc, int64(r.Participant), r.ID, old)
	}
	// The offers of the rule as it was are other promises: they go, and new ones with new ids come.
	t.exec(`DELETE FROM offers WHERE participant = $1 AND rule = $2`, int64(r.Participant), r.ID)
	return t.offerAll(ctx, r)
}

// offerAll materialises a rule over all assets.
func (t *tx) offerAll(ctx context.Context, r catalog.Rule) error {
	assets, err := gather(ctx, t.query, scanAsset, `SELECT doc, version, created FROM assets WHERE participant = $1`, int64(r.Participant))
	if err != nil {
		return err
	}
	for _, a := range assets {
		if !r.Selector.Matches(a) {
			continue
		}
		if err := t.materialise(a, r); err != nil {
			return err
		}
	}
	return nil
}

// Rule implements catalog.Store.
func (s *Store) Rule(ctx context.Context, p participant.ID, id string) (r catalog.Rule, err error) {
	err = s.get(ctx, func(row scanner) (err error) {
		r, err = scanRule(row)
		return err
	}, `SELECT doc, version, created FROM rules WHERE participant = $1 AND id = $2`, int64(p), id)
	return r, err
}

// Rules implements catalog.Store.
func (s *Store) Rules(ctx context.Context, p participant.ID, r page.Request) (page.Of[catalog.Rule], error) {
	l := list{}
	l.and("participant = ?", int64(p))
	items, err := gather(ctx, s.query, scanRule, l.paged("doc, version, created", "rules", r), l.args...)
	return cut(items, r, func(v catalog.Rule) page.Key { return page.Key{Created: v.Created, ID: v.ID} }), err
}

// DeleteRule implements catalog.Store.
func (s *Store) DeleteRule(ctx context.Context, p participant.ID, id string, version int64, e commit.Effects) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		t.exec(`DELETE FROM offers WHERE participant = $1 AND rule = $2`, int64(p), id)
		t.one(errStale("store.DeleteRule", id), `DELETE FROM rules WHERE participant = $1 AND id = $2 AND version = $3`, int64(p), id, version)
		return t.effects(p, e)
	})
}

const entryColumns = `o.id, o.asset, o.rule, o.access_policy, o.usage_policy, o.created, a.doc, a.version, a.created, pa.doc, pu.doc`

const entryTables = `offers o
	JOIN assets a ON a.participant = o.participant AND a.id = o.asset
	JOIN policies pa ON pa.participant = o.participant AND pa.digest = o.access_policy
	JOIN policies pu ON pu.participant = o.participant AND pu.digest = o.usage_policy`

func scanEntry(p participant.ID, row scanner) (catalog.Entry, error) {
	e := catalog.Entry{Offer: catalog.Offer{Participant: p}}
	var created, version, since int64
	var asset, access, usage string
	err := row.Scan(&e.Offer.ID, &e.Offer.Asset, &e.Offer.Rule, &e.Offer.Access, &e.Offer.Usage, &created, &asset, &version, &since, &access, &usage)
	if err != nil {
		return e, err
	}
	e.Offer.Created = fromMicros(created)
	if err := decode(asset, &e.Asset); err != nil {
		return e, err
	}
	e.Asset.Version, e.Asset.Created = version, fromMicros(since)
	if err := decode(access, &e.Access); err != nil {
		return e, err
	}
	return e, decode(usage, &e.Usage)
}

// Offer implements catalog.Store.
func (s *Store) Offer(ctx context.Context, p participant.ID, id string) (catalog.Entry, error) {
	var e catalog.Entry
	err := s.get(ctx, func(row scanner) (err error) {
		e, err = scanEntry(p, row)
		return err
	}, `SELECT `+entryColumns+` FROM `+entryTables+` WHERE o.participant = $1 AND o.id = $2`, int64(p), id)
	return e, err
}

// AccessPolicies implements catalog.Store.
func (s *Store) AccessPolicies(ctx context.Context, p participant.ID) ([]catalog.Definition, error) {
	return documents(ctx, s, noVersion[catalog.Definition], `SELECT doc, 0 FROM policies WHERE participant = $1
		AND EXISTS (SELECT 1 FROM offers WHERE offers.participant = policies.participant AND offers.access_policy = policies.digest) ORDER BY digest`, int64(p))
}

// visible is the list of a participant's offers under any of the access policies.
func visible(p participant.ID, access []string) (l list, among string) {
	l = list{created: "o.created", id: "o.id"}
	l.and("o.participant = ?", int64(p))
	among = l.among(access)
	l.where = append(l.where, "o.access_policy IN "+among)
	return l, among
}

// among adds values and returns the set of their places.
func (l *list) among(values []string) string {
	places := make([]string, len(values))
	for i, value := range values {
		l.args = append(l.args, value)
		places[i] = "$" + strconv.Itoa(len(l.args))
	}
	return "(" + strings.Join(places, ", ") + ")"
}

func (s *Store) offered(ctx context.Context, p participant.ID, l list, r page.Request) (page.Of[catalog.Entry], error) {
	items, err := gather(ctx, s.query, func(row scanner) (catalog.Entry, error) { return scanEntry(p, row) }, l.paged(entryColumns, entryTables, r), l.args...)
	return cut(items, r, catalog.Entry.Key), err
}

// Entries implements catalog.Store.
func (s *Store) Entries(ctx context.Context, p participant.ID, access []string, dataset string, r page.Request) (page.Of[catalog.Entry], error) {
	if len(access) == 0 {
		return page.Of[catalog.Entry]{}, nil
	}
	l, _ := visible(p, access)
	l.andIf(dataset != "", "o.asset = ?", dataset)
	return s.offered(ctx, p, l, r)
}

// Datasets implements catalog.Store: the first offer of each asset makes the page, then come their other offers.
func (s *Store) Datasets(ctx context.Context, p participant.ID, access []string, r page.Request) (page.Of[catalog.Shown], error) {
	var out page.Of[catalog.Shown]
	if len(access) == 0 {
		return out, nil
	}
	l, among := visible(p, access)
	l.where = append(l.where, `NOT EXISTS (SELECT 1 FROM offers f WHERE f.participant = o.participant AND f.asset = o.asset AND f.access_policy IN `+among+`
		AND (f.created < o.created OR f.created = o.created AND f.id < o.id))`)
	first, err := s.offered(ctx, p, l, r)
	if err != nil || len(first.Items) == 0 {
		return out, err
	}
	out.Next = first.Next
	assets := make([]string, 0, len(first.Items))
	for _, e := range first.Items {
		assets = append(assets, e.Offer.Asset)
	}
	l, _ = visible(p, access)
	l.where = append(l.where, "o.asset IN "+l.among(assets))
	query := "SELECT " + entryColumns + " FROM " + entryTables + " WHERE " + strings.Join(l.where, " AND ") + " ORDER BY o.created, o.id"
	all, err := gather(ctx, s.query, func(row scanner) (catalog.Entry, error) { return scanEntry(p, row) }, query, l.args...)
	offers := map[string][]catalog.Entry{}
	for _, e := range all {
		offers[e.Offer.Asset] = append(offers[e.Offer.Asset], e)
	}
	for _, e := range first.Items {
		if of := offers[e.Offer.Asset]; len(of) > 0 { // it may have gone meanwhile
			out.Items = append(out.Items, catalog.Shown{Asset: of[0].Asset, Offers: of})
		}
	}
	return out, err
}
