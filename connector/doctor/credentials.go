package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/sluice-connector/sluice/connector/credential"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/trust"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/connector/wire/dcphttp"
	"github.com/sluice-connector/sluice/connector/wire/egress"
)

// holding is a credential in a wallet, and what is wrong with it.
type holding struct {
	wallet.Credential
	read    credential.Stored
	result  Result
	detail  string
	mend    string
	shown   bool // it is shown although something is wrong with it
	expires bool // it is good still, as far as is known
}

// usable reports whether it proves something now.
func (h holding) usable() bool { return h.result == OK || h.expires }

// kind names a credential for people: what it is, and whose word it is.
func (h holding) kind() string { return h.typ() + " of " + string(h.Issuer) }

func (h holding) typ() string {
	for _, t := range h.Types {
		if t != "VerifiableCredential" {
			return t
		}
	}
	return "credential"
}

// inspector asks issuers how they stand by what is held.
type inspector struct {
	documents identity.Documents
	tokens    *identity.Verifier
	lists     map[string]*credential.Lists // by profile
}

func (x *examination) inspector() inspector {
	informal := map[participant.DID]bool{}
	for _, did := range x.set.Verification.Informal {
		informal[participant.DID(did)] = true
	}
	resolver := identity.NewResolver(func(ctx context.Context, url string, limit int64) ([]byte, error) {
		body, err := x.out.Fetch(ctx, url, limit)
		if errors.Is(err, egress.ErrAbsent) {
			err = errors.Join(identity.ErrGone, err)
		}
		return body, err
	}, x.cfg.Now)
	resolver.Undeclared(informal)
	i := inspector{documents: resolver, tokens: identity.NewVerifier(resolver, x.store, x.cfg.Now), lists: map[string]*credential.Lists{}}
	for _, p := range x.profiles {
		view := x.book.Of(p.ID)
		i.lists[p.ID] = credential.NewLists(credential.ListsConfig{Fetch: dcphttp.Fetcher(x.out), Tokens: i.tokens, Trust: view, Calls: &credential.Calls{},
			MinEntries: view.Entries, Grace: view.Grace, Now: x.cfg.Now, Log: slog.New(slog.DiscardHandler)})
	}
	return i
}

// credentials checks that each participant can prove what its ecosystem asks for, now and soon.
func (x *examination) credentials(ctx context.Context) {
	if x.store == nil {
		return
	}
	ask := x.inspector()
	for _, p := range x.locals() {
		x.wallet(ctx, p, ask)
	}
}

func (x *examination) wallet(ctx context.Context, p participant.Participant, ask inspector) {
	check := "credentials of " + p.Slug
	all, err := x.store.Credentials(ctx, p.ID)
	if err != nil {
		x.add(check, Fault, err.Error(), "sluice credentials list -p "+p.Slug)
		return
	}
	terms, wants := x.book.Terms(p.Profile), x.wanted(p)
	var held []holding
	for _, c := range all {
		held = append(held, x.hold(ctx, p, c, terms, wants, ask))
	}
	before, said := len(x.findings), 0
	for i, h := range held {
		if h.result == OK || !h.shown && replaced(held, i) {
			continue
		}
		if said++; said > maxSaid {
			x.add(check, Warning, "there are more of these", "sluice credentials list -p "+p.Slug)
			break
		}
		x.add(check, h.result, h.detail, h.mend)
	}
	for _, w := range wants {
		x.missing(ctx, check, p, terms, held, w)
	}
	if len(x.findings) == before {
		x.add(check, OK, fmt.Sprintf("%d held, and all that is asked for is among them", len(held)), "")
	}
}

// replaced reports whether another credential proves the same.
func replaced(held []holding, i int) bool {
	for j, other := range held {
		if j != i && other.usable() && other.typ() == held[i].typ() && (other.result == OK || held[i].result != Warning) {
			return true
		}
	}
	return false
}

// want is a credential that a participant should have.
type want struct {
	credential.Scope
	by       string // who wants it: a key of the settings, or the profile
	required bool   // who lacks it is a stranger
}

// wanted lists what the ecosystem asks each of its companies for, and what the settings want to have.
func (x *examination) wanted(p participant.Participant) []want {
	var out []want
	add := func(s credential.Scope, by string, required bool) {
		if at := slices.IndexFunc(out, func(w want) bool { return w.Scope == s }); at >= 0 {
			out[at].required = out[at].required || required
			return
		}
		out = append(out, want{s, by, required})
	}
	at := x.place(p.Profile)
	aliases := credential.Aliases(x.profiles[at].Aliases)
	for _, text := range x.set.Profiles[at].Required {
		if s, err := aliases.Parse(text); err == nil {
			add(s, fmt.Sprintf("profiles[%d].required", at), true)
		}
	}
	for _, text := range x.book.Terms(p.Profile).Scopes {
		if s, err := aliases.Parse(text); err == nil {
			add(s, "the profile "+p.Profile, false)
		}
	}
	for _, kind := range x.set.Wallet.Request {
		add(credential.Scope{Value: kind}, "wallet.request", false)
	}
	return out
}

// missing says that nothing of a kind is held at all; what is held and no good was said.
func (x *examination) missing(ctx context.Context, check string, p participant.Participant, terms trust.Terms, held []holding, w want) {
	if slices.ContainsFunc(held, func(h holding) bool { return w.Selects(h.read.ID, h.read.Types, h.read.Contexts) }) {
		return
	}
	result, means := Warning, "policies that ask for it refuse"
	if w.required {
		result, means = Fault, "who lacks it is a stranger in this ecosystem"
	}
	detail := fmt.Sprintf("there is no %s, which %s asks for: %s", w.Value, w.by, means)
	var from []participant.DID
	for _, i := range terms.Issuers {
		if slices.Contains(i.Credentials, w.Value) {
			from = append(from, i.DID)
		}
	}
	if len(from) == 0 {
		x.add(check, result, detail+"; nobody is trusted to issue it", fmt.Sprintf("settings key profiles[%d].trust", x.place(p.Profile)))
		return
	}
	for _, issuer := range from {
		open, err := x.store.OpenCredentialRequests(ctx, p.ID, issuer, wallet.MaxOpen)
		if err != nil {
			continue
		}
		for _, r := range open {
			if slices.ContainsFunc(r.Wanted, func(wanted wallet.Wanted) bool { return wanted.Type == w.Value && wanted.Held == "" }) {
				x.add(check, result, fmt.Sprintf("%s; it was asked for, and %s has not delivered it yet", detail, issuer), "sluice credentials requests -p "+p.Slug+" "+r.ID)
				return
			}
		}
	}
	x.add(check, result, detail, request(p, from[0], w.Value))
}

func request(p participant.Participant, issuer participant.DID, kind string) string {
	return fmt.Sprintf("sluice credentials request -p %s %s %s", p.Slug, issuer, kind)
}

// hold judges one credential.
func (x *examination) hold(ctx context.Context, p participant.Participant, c wallet.Credential, terms trust.Terms, wants []want, ask inspector) holding {
	h := holding{Credential: c, result: OK}
	informal := map[participant.DID]bool{c.Issuer: slices.Contains(x.set.Verification.Informal, string(c.Issuer))}
	var err error
	anew := h.anew(p)
	if h.read, err = credential.Read(string(c.Raw), p.DID, informal); err != nil {
		h.result, h.detail, h.mend = Fault, fmt.Sprintf("%s cannot be read: %v", c.ID, err), "sluice credentials delete -p "+p.Slug+" "+c.ID
		return h
	}
	now := x.cfg.Now()
	asked := slices.ContainsFunc(wants, func(w want) bool { return w.Selects(h.read.ID, h.read.Types, h.read.Contexts) })
	switch {
	case !now.Before(c.NotAfter):
		h.result, h.detail, h.mend = Fault, fmt.Sprintf("%s ended on %s: it is not shown any more", h.kind(), day(c.NotAfter)), anew
	case now.Before(c.NotBefore):
		h.result, h.detail, h.mend = Warning, fmt.Sprintf("%s is not good before %s", h.kind(), day(c.NotBefore)), "wait; if that is past: timedatectl"
	case c.Standing != wallet.Good:
		h.against(c.Standing, anew)
	case len(terms.Issuers) > 0 && !believes(terms, c):
		h.result, h.shown = Warning, true
		if asked {
			h.result = Fault
		}
		h.detail = fmt.Sprintf("%s: the profile %s trusts this issuer for nothing of that, so peers who trust the same refuse all that is shown with it", h.kind(), p.Profile)
		h.mend = fmt.Sprintf("sluice credentials delete -p %s %s; or settings key profiles[%d].trust, then: sluice trust reload", p.Slug, c.ID, x.place(p.Profile))
	default:
		x.inspect(ctx, p, &h, ask, anew)
	}
	if left := c.NotAfter.Sub(now); h.result == OK && left < soon(c.NotBefore, c.NotAfter) {
		h.result, h.expires = Warning, true
		h.detail, h.mend = fmt.Sprintf("%s ends in %s, and there is no other yet", h.kind(), span(left)), anew
	}
	return h
}

// anew is the command that brings a credential again.
func (h holding) anew(p participant.Participant) string {
	switch {
	case h.Renewal != "":
		return "it is asked for: sluice credentials requests -p " + p.Slug + " " + h.Renewal
	case h.Request == "":
		return request(p, h.Issuer, h.typ()) + "; or, where it came by hand: sluice credentials put -p " + p.Slug + " FILE"
	}
	return request(p, h.Issuer, h.typ())
}

// against says what an issuer has against a credential.
func (h *holding) against(s wallet.Standing, anew string) {
	h.result, h.mend = Fault, anew
	switch s {
	case wallet.Suspended:
		h.detail = h.kind() + " is suspended by its issuer: it is not shown until that ends"
		h.mend = "its issuer ends that: sluice issuer credentials reinstate " + h.ID
	case wallet.Withdrawn:
		h.detail = h.kind() + " was signed by a key that its issuer revoked: nobody believes it"
	default:
		h.detail = h.kind() + " was revoked by its issuer"
		h.mend = "ask " + string(h.Issuer) + " why, then: " + anew
	}
}

func believes(terms trust.Terms, c wallet.Credential) bool {
	return slices.ContainsFunc(terms.Issuers, func(i trust.Issuer) bool {
		return i.DID == c.Issuer && slices.ContainsFunc(c.Types, func(t string) bool { return slices.Contains(i.Credentials, t) })
	})
}

// inspect asks the issuer, as peers do: whether its key is good still, and whether it took the credential back. An issuer whose document is not
// there has a finding of its own.
func (x *examination) inspect(ctx context.Context, p participant.Participant, h *holding, ask inspector, anew string) {
	if v := x.visits[h.Issuer]; v != nil && v.err != nil || x.ours(h.Issuer) && !x.serving {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	if _, err := ask.documents.Resolve(ctx, h.Issuer, false); err != nil {
		h.result, h.expires = Warning, true
		h.detail = fmt.Sprintf("%s: the document of its issuer cannot be had (%v), and peers refuse what they cannot check", h.kind(), err)
		h.mend = "tell " + string(h.Issuer)
		return
	}
	header, _, err := identity.ParseJWT(h.read.Token, 64<<10)
	if err == nil {
		err = ask.tokens.Signature(ctx, h.Issuer, header.KeyID, h.read.Token, identity.AssertionMethod)
	}
	if err != nil {
		h.result, h.mend = Fault, anew
		h.detail = fmt.Sprintf("%s does not fit the keys that its issuer shows (%v): nobody believes it", h.kind(), err)
		return
	}
	lists := ask.lists[p.Profile]
	if lists == nil {
		return
	}
	switch _, err := lists.Stands(ctx, h.read); {
	case errors.Is(err, credential.ErrRevoked):
		h.against(wallet.Revoked, anew)
	case errors.Is(err, credential.ErrSuspended):
		h.against(wallet.Suspended, anew)
	case err != nil:
		h.result, h.expires = Warning, true
		h.detail = fmt.Sprintf("%s: its status cannot be looked up (%v), and peers refuse what they cannot check", h.kind(), err)
		h.mend = "tell " + string(h.Issuer)
	}
}
