package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
)

const (
	// listLife is how long a signed list is good; it is signed anew in each half of that, counted from 1970, so that replicas agree.
	listLife = 24 * time.Hour
	// MaxLists bounds the lists of one profile and purpose.
	MaxLists = 1000

	draws = 16 // indexes that are looked at together

	// filled is when a list gives out no more: at three quarters a draw still finds a free place soon.
	filled = statuslist.MinEntries / 4 * 3
)

// places draws a free place for each purpose of the definition, in a list that has room, or in a new one, which is returned with the change.
// used are the places that others of the same step have drawn.
func (s *Service) places(ctx context.Context, local participant.Participant, d Definition, used map[Place]bool, fresh map[string]*List, now time.Time) ([]Place, error) {
	var out []Place
	for _, purpose := range d.Purposes {
		list, err := s.roomy(ctx, local, d.Profile, purpose, fresh, now)
		if err != nil {
			return nil, err
		}
		index, err := s.draw(ctx, local, list, purpose, used)
		if err != nil {
			return nil, err
		}
		p := Place{Purpose: purpose, List: list.ID, Index: index}
		used[p] = true
		out = append(out, p)
	}
	return out, nil
}

// roomy returns a list that still gives out places.
func (s *Service) roomy(ctx context.Context, local participant.Participant, profile, purpose string, fresh map[string]*List, now time.Time) (List, error) {
	const op = "issuer.places"
	key := profile + " " + purpose
	if made, ok := fresh[key]; ok {
		return *made, nil
	}
	all, err := s.cfg.Store.IssuerLists(ctx, local.ID, profile, purpose)
	if err != nil {
		return List{}, fault.Wrap(op, fault.Unavailable, err)
	}
	for _, l := range all {
		// Room for everything that one step may take: what the store counts decides.
		if l.Taken+maxTogether <= s.cfg.Fill {
			return l, nil
		}
	}
	if len(all) >= s.cfg.Lists {
		return List{}, &fault.Error{Op: op, Kind: fault.Unavailable, Code: "lists.full", Reason: "every status list is full"}
	}
	bits, err := statuslist.New(statuslist.MinEntries)
	if err != nil {
		return List{}, fault.Wrap(op, fault.Internal, err)
	}
	id, err := process.NewID(s.cfg.Rand)
	if err != nil {
		return List{}, err
	}
	made := List{Participant: local.ID, ID: id[len("urn:uuid:"):], Version: 1, Profile: profile, Purpose: purpose, Size: bits.Len(), Bits: bits.Bytes(), Created: now, Updated: now}
	fresh[key] = &made
	return made, nil
}

// draw draws indexes at random until one is free. Who takes it first has it: the store refuses the other, who draws again.
func (s *Service) draw(ctx context.Context, local participant.Participant, l List, purpose string, used map[Place]bool) (int, error) {
	for range 64 {
		var candidates []int
		for range draws {
			n, err := random(s.cfg.Rand, l.Size)
			if err != nil {
				return 0, err
			}
			candidates = append(candidates, n)
		}
		taken, err := s.cfg.Store.IssuerTaken(ctx, local.ID, l.ID, candidates)
		if err != nil {
			return 0, fault.Wrap("issuer.draw", fault.Unavailable, err)
		}
		for _, n := range candidates {
			if !slices.Contains(taken, n) && !used[Place{Purpose: purpose, List: l.ID, Index: n}] {
				return n, nil
			}
		}
	}
	return 0, &fault.Error{Op: "issuer.draw", Kind: fault.Unavailable, Code: "lists.full", Reason: "no free place was found"}
}

// Published is a signed status list as it is served.
type Published struct {
	Token   string
	Tag     string // names version, half life and key: equal for all who sign the same list then, whatever their signatures are
	Version int64
	Profile string
}

// Plain is the list's credential without its signature.
func (p Published) Plain() (json.RawMessage, error) {
	_, payload, err := identity.ParseJWT(p.Token, len(p.Token))
	if err != nil || p.Profile == credential.Profile20 {
		return payload, err
	}
	var claims struct {
		VC json.RawMessage `json:"vc"`
	}
	err = json.Unmarshal(payload, &claims)
	return claims.VC, err
}

// published is a list as this process last signed it, and who waits for the next version.
type published struct {
	sync.Mutex
	Published
	kid     string
	half    int64
	changed chan struct{} // closed when the version grows
}

type listKey struct {
	participant participant.ID
	list        string
}

// published returns the entry of a list, made when there is none.
func (s *Service) published(key listKey) *published {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.lists[key]
	if !ok {
		p = &published{changed: make(chan struct{})}
		s.lists[key] = p
	}
	return p
}

// StatusList returns the list as it is now, signed. The store says which version that is, so that a change is served from its commit on,
// whichever process made it. It is signed anew when the version or the key has changed, or when half of its life is over.
func (s *Service) StatusList(ctx context.Context, local participant.Participant, id string) (Published, error) {
	const op = "issuer.StatusList"
	version, err := s.cfg.Store.IssuerListVersion(ctx, local.ID, id)
	if err != nil {
		return Published{}, fault.Wrap(op, fault.Internal, err)
	}
	keys, err := s.cfg.Keys(local)
	if err != nil {
		return Published{}, fault.Wrap(op, fault.Unavailable, err)
	}
	public := keys.Public(identity.UseIssue)
	if len(public) == 0 {
		return Published{}, fault.New(op, fault.Unavailable, "there is no key to sign with")
	}
	p := s.published(listKey{local.ID, id})
	p.Lock()
	defer p.Unlock()
	now := s.cfg.Now()
	half := now.Unix() / int64(listLife/2/time.Second)
	if p.Version >= version && p.kid == public[0].ID && p.half == half {
		return p.Published, nil
	}
	l, err := s.cfg.Store.IssuerList(ctx, local.ID, id)
	if err != nil {
		return Published{}, fault.Wrap(op, fault.Internal, err)
	}
	token, err := s.signList(ctx, local, keys, l, now)
	if err != nil {
		return Published{}, fault.Wrap(op, fault.Unavailable, err)
	}
	sum := sha256.Sum256([]byte(public[0].ID))
	p.Published = Published{Token: token, Tag: fmt.Sprintf("%d-%d-%x", l.Version, half, sum[:4]), Version: l.Version, Profile: l.Profile}
	p.kid, p.half = public[0].ID, half
	return p.Published, nil
}

// Changed returns a channel that is closed when the list gets another version. Take it before looking at the list: what changes in between
// closes it already.
func (s *Service) Changed(local participant.Participant, id string) <-chan struct{} {
	p := s.published(listKey{local.ID, id})
	p.Lock()
	defer p.Unlock()
	return p.changed
}

// wake tells those who wait that lists have changed. It comes after the commit.
func (s *Service) wake(p participant.ID, lists []string) {
	for _, id := range lists {
		entry := s.published(listKey{p, id})
		entry.Lock()
		close(entry.changed)
		entry.changed = make(chan struct{})
		entry.Unlock()
	}
}

// signList makes the list credential, in the profile of the credentials whose list it is.
func (s *Service) signList(ctx context.Context, local participant.Participant, keys identity.Keys, l List, now time.Time) (string, error) {
	bits, err := statuslist.FromBytes(l.Bits)
	if err != nil {
		return "", err
	}
	kind, address := kindOf(l.Profile), s.cfg.StatusURL(local, l.ID)
	begins := now.UTC().Truncate(time.Second)
	return Draft{ID: address, Profile: l.Profile, Contexts: kind.Contexts()[1:], Types: []string{kind.CredentialType()},
		Subject: statuslist.Subject{Kind: kind, ID: address + "#list", Purposes: []string{l.Purpose}, Bits: bits}, Begins: begins, Ends: begins.Add(listLife)}.Sign(ctx, local.DID, keys)
}
