package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// The roles, as tokens carry them.
const (
	Operator = participant.Operator
	Reader   = participant.Reader
	Auditor  = participant.Auditor
	Agent    = participant.Agent
)

// scope says which tokens a method is for, besides their role.
type scope uint8

const (
	hosted  scope = iota // one participant, named by its slug: its own tokens and those of the process
	process              // the whole process: only its tokens
	either               // hosted when a slug is given, else process
	visible              // no slug: the answer shows what the caller may see
)

// rule is one row of the access table.
type rule struct {
	method string
	scope  scope
	roles  []string
	change bool // changes something: idempotency keys apply
}

var (
	operators = []string{Operator}
	readers   = []string{Operator, Reader}
	everyone  = []string{Operator, Reader, Auditor}
	// withAgent adds agents. An agent may find out who it acts for and what peers offer, take data under agreements that are there, and see these
	// agreements and its transfers. It may neither bind the company nor change or read what is set up here.
	withAgent = func(roles []string) []string { return append(slices.Clone(roles), Agent) }
)

// rules is the whole table: role × method. What has no row is refused. A pull may conclude a contract, so it is for operators, and for agents
// under a contract that is there. Asking a peer for its catalog changes nothing here, but speaks in the company's name: not for auditors.
var rules = []rule{
	{pb.ParticipantService_CreateParticipant_FullMethodName, process, operators, true},
	{pb.ParticipantService_GetParticipant_FullMethodName, hosted, withAgent(everyone), false},
	{pb.ParticipantService_ListParticipants_FullMethodName, visible, withAgent(everyone), false},

	{pb.TokenService_CreateToken_FullMethodName, either, operators, true},
	{pb.TokenService_ListTokens_FullMethodName, either, operators, false},
	{pb.TokenService_DeleteToken_FullMethodName, either, operators, true},

	{pb.TrustService_GetTrust_FullMethodName, hosted, everyone, false},
	{pb.TrustService_ReloadTrust_FullMethodName, process, operators, true},

	{pb.DirectoryService_ResolveNumber_FullMethodName, hosted, withAgent(readers), false},
	{pb.DirectoryService_ListNumbers_FullMethodName, hosted, readers, false},
	{pb.DirectoryService_PutNumber_FullMethodName, hosted, operators, true},
	{pb.DirectoryService_DeleteNumber_FullMethodName, hosted, operators, true},

	{pb.GroupService_ListGroups_FullMethodName, hosted, readers, false},
	{pb.GroupService_GetGroup_FullMethodName, hosted, readers, false},
	{pb.GroupService_PutGroup_FullMethodName, hosted, operators, true},
	{pb.GroupService_DeleteGroup_FullMethodName, hosted, operators, true},

	{pb.CredentialService_PutCredential_FullMethodName, hosted, operators, true},
	{pb.CredentialService_ListCredentials_FullMethodName, hosted, readers, false},
	{pb.CredentialService_DeleteCredential_FullMethodName, hosted, operators, true},
	{pb.CredentialService_RequestCredential_FullMethodName, hosted, operators, true},
	{pb.CredentialService_GetCredentialRequest_FullMethodName, hosted, readers, false},
	{pb.CredentialService_ListCredentialRequests_FullMethodName, hosted, readers, false},
	{pb.CredentialService_ListCredentialOffers_FullMethodName, hosted, readers, false},
	{pb.CredentialService_AcceptOffer_FullMethodName, hosted, operators, true},
	{pb.CredentialService_DeclineOffer_FullMethodName, hosted, operators, true},
	{pb.CredentialService_CreateStsClient_FullMethodName, hosted, operators, true},
	{pb.CredentialService_ListStsClients_FullMethodName, hosted, operators, false},
	{pb.CredentialService_DeleteStsClient_FullMethodName, hosted, operators, true},

	{pb.IssuerService_EnableIssuer_FullMethodName, hosted, operators, true},
	{pb.IssuerService_GetIssuer_FullMethodName, hosted, readers, false},
	{pb.IssuerService_PutIssuerDefinition_FullMethodName, hosted, operators, true},
	{pb.IssuerService_ListIssuerDefinitions_FullMethodName, hosted, readers, false},
	{pb.IssuerService_DeleteIssuerDefinition_FullMethodName, hosted, operators, true},
	{pb.IssuerService_PutIssuerHolder_FullMethodName, hosted, operators, true},
	{pb.IssuerService_ImportIssuerHolders_FullMethodName, hosted, operators, true},
	{pb.IssuerService_ListIssuerHolders_FullMethodName, hosted, readers, false},
	{pb.IssuerService_DeleteIssuerHolder_FullMethodName, hosted, operators, true},
	{pb.IssuerService_ListIssuanceRequests_FullMethodName, hosted, readers, false},
	{pb.IssuerService_GetIssuanceRequest_FullMethodName, hosted, readers, false},
	{pb.IssuerService_ApproveIssuanceRequest_FullMethodName, hosted, operators, true},
	{pb.IssuerService_RefuseIssuanceRequest_FullMethodName, hosted, operators, true},
	{pb.IssuerService_IssueCredential_FullMethodName, hosted, operators, true},
	{pb.IssuerService_ListIssuedCredentials_FullMethodName, hosted, readers, false},
	{pb.IssuerService_GetIssuedCredential_FullMethodName, hosted, readers, false},
	{pb.IssuerService_RevokeCredential_FullMethodName, hosted, operators, true},
	{pb.IssuerService_SuspendCredential_FullMethodName, hosted, operators, true},
	{pb.IssuerService_ReinstateCredential_FullMethodName, hosted, operators, true},
	{pb.IssuerService_RevokeHolder_FullMethodName, hosted, operators, true},
	{pb.IssuerService_OfferCredentials_FullMethodName, hosted, operators, true},
	{pb.IssuerService_ListIssuerOffers_FullMethodName, hosted, readers, false},

	{pb.KeyService_ListKeys_FullMethodName, hosted, everyone, false},
	{pb.KeyService_RotateKeys_FullMethodName, hosted, operators, true},
	{pb.KeyService_RevokeKey_FullMethodName, hosted, operators, true},

	{pb.AssetService_PutAsset_FullMethodName, hosted, operators, true},
	{pb.AssetService_GetAsset_FullMethodName, hosted, readers, false},
	{pb.AssetService_ListAssets_FullMethodName, hosted, readers, false},
	{pb.AssetService_DeleteAsset_FullMethodName, hosted, operators, true},
	{pb.AssetService_PublishFile_FullMethodName, hosted, operators, true},

	{pb.PolicyService_CreatePolicy_FullMethodName, hosted, operators, true},
	{pb.PolicyService_GetPolicy_FullMethodName, hosted, everyone, false},
	{pb.PolicyService_ListPolicies_FullMethodName, hosted, everyone, false},

	{pb.OfferService_PutRule_FullMethodName, hosted, operators, true},
	{pb.OfferService_GetRule_FullMethodName, hosted, readers, false},
	{pb.OfferService_ListRules_FullMethodName, hosted, readers, false},
	{pb.OfferService_DeleteRule_FullMethodName, hosted, operators, true},
	{pb.OfferService_ListOffers_FullMethodName, hosted, readers, false},

	{pb.CatalogService_RequestCatalog_FullMethodName, hosted, withAgent(readers), false},
	{pb.CatalogService_RequestDataset_FullMethodName, hosted, withAgent(readers), false},

	{pb.NegotiationService_BeginNegotiation_FullMethodName, hosted, operators, true},
	{pb.NegotiationService_GetNegotiation_FullMethodName, hosted, readers, false},
	{pb.NegotiationService_ListNegotiations_FullMethodName, hosted, readers, false},
	{pb.NegotiationService_OfferNegotiation_FullMethodName, hosted, operators, true},
	{pb.NegotiationService_ProposeNegotiation_FullMethodName, hosted, operators, true},
	{pb.NegotiationService_ApproveNegotiation_FullMethodName, hosted, operators, true},
	{pb.NegotiationService_TerminateNegotiation_FullMethodName, hosted, operators, true},

	{pb.AgreementService_GetAgreement_FullMethodName, hosted, withAgent(everyone), false},
	{pb.AgreementService_ListAgreements_FullMethodName, hosted, withAgent(everyone), false},
	{pb.AgreementService_RetireAgreement_FullMethodName, hosted, operators, true},

	{pb.TransferService_BeginTransfer_FullMethodName, hosted, operators, true},
	{pb.TransferService_GetTransfer_FullMethodName, hosted, withAgent(readers), false},
	{pb.TransferService_ListTransfers_FullMethodName, hosted, withAgent(readers), false},
	{pb.TransferService_SuspendTransfer_FullMethodName, hosted, operators, true},
	{pb.TransferService_ResumeTransfer_FullMethodName, hosted, operators, true},
	{pb.TransferService_CompleteTransfer_FullMethodName, hosted, operators, true},
	{pb.TransferService_TerminateTransfer_FullMethodName, hosted, operators, true},
	{pb.TransferService_Pull_FullMethodName, hosted, withAgent(operators), true},

	{pb.DecisionService_GetLog_FullMethodName, hosted, everyone, false},
	{pb.DecisionService_GetDecision_FullMethodName, hosted, everyone, false},
	{pb.DecisionService_ListDecisions_FullMethodName, hosted, everyone, false},
	{pb.DecisionService_ExportLog_FullMethodName, hosted, everyone, false},

	{pb.EventService_Watch_FullMethodName, hosted, everyone, false},

	{metrics, process, everyone, false},
}

// metrics is the one address that is no method: those who scrape speak HTTP alone, and what they get is of the whole process.
const metrics = "GET /metrics"

// caller is who calls, about which participant. local is zero where the call is about the whole process.
type caller struct {
	id      string // the same in each call of the same token, or of the same user
	name    string
	roles   []string
	whole   bool             // may act for the whole process
	ids     []participant.ID // may act for these …
	slugs   []string         // … and these
	expires time.Time        // zero: never
	again   func(context.Context) error
	local   participant.Participant
}

// actor names the caller in events and in the log.
func (c caller) actor() string { return c.name }

// sees reports whether the caller may act for the participant.
func (c caller) sees(p participant.Participant) bool {
	return c.whole || slices.Contains(c.ids, p.ID) || slices.Contains(c.slugs, p.Slug)
}

// is reports whether the caller has the role.
func (c caller) is(role string) bool { return slices.Contains(c.roles, role) }

type callerKey struct{}

// from returns the caller; the gate has put it there for every call that reaches a handler.
func from(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// gate lets a call in or refuses it.
type gate struct {
	store Store
	users Users
	now   func() time.Time
	rules map[string]rule
	every time.Duration // between two looks at the token of a stream
	log   *slog.Logger
}

func newGate(cfg Config) *gate {
	g := &gate{store: cfg.Store, users: cfg.Users, now: cfg.Now, rules: map[string]rule{}, every: 30 * time.Second, log: cfg.Log}
	for _, r := range rules {
		g.rules[r.method] = r
	}
	return g
}

// enter authenticates the caller and judges whether it may call the method about the participant with the slug.
func (g *gate) enter(ctx context.Context, method, authorization, slug string) (context.Context, rule, error) {
	const op = "rpc.enter"
	r, ok := g.rules[method]
	if !ok {
		return nil, rule{}, fault.New(op, fault.Forbidden, "this method is not open to anyone")
	}
	who, err := g.authenticate(ctx, authorization)
	if err != nil {
		return nil, rule{}, err
	}
	if who.local, err = g.locate(ctx, r.scope, who, slug); err != nil {
		return nil, rule{}, err
	}
	if !slices.ContainsFunc(r.roles, who.is) {
		return nil, rule{}, fault.New(op, fault.Forbidden, "a token of the role %s may not do this", strings.Join(who.roles, " and "))
	}
	return context.WithValue(ctx, callerKey{}, who), r, nil
}

// maxSecret bounds our own tokens; maxBearer those of identity providers.
const (
	maxSecret = 256
	maxBearer = identity.MaxToken
)

// authenticate finds out who calls: by a token of our own, or by one that an identity provider made, which alone has dots in it. Every failure
// that is the caller's looks the same.
func (g *gate) authenticate(ctx context.Context, authorization string) (caller, error) {
	scheme, secret, ok := strings.Cut(authorization, " ")
	switch {
	case !ok || !strings.EqualFold(scheme, "bearer") || secret == "" || len(secret) > maxBearer:
		return caller{}, errUnknown
	case strings.Contains(secret, "."):
		return g.user(ctx, secret)
	case len(secret) > maxSecret:
		return caller{}, errUnknown
	}
	return g.holder(ctx, HashToken(secret))
}

var errUnknown = fault.New("rpc.authenticate", fault.Unauthenticated, "a valid bearer token is needed")

// holder is who holds a token of our own.
func (g *gate) holder(ctx context.Context, hash string) (caller, error) {
	token, err := g.store.Token(ctx, hash)
	switch {
	case fault.Is(err, fault.NotFound):
		return caller{}, errUnknown
	case err != nil:
		return caller{}, fault.Wrap("rpc.authenticate", fault.Unavailable, err)
	case !token.Expires.IsZero() && !g.now().Before(token.Expires):
		return caller{}, errUnknown
	}
	who := caller{id: token.Hash, name: token.Label, roles: []string{token.Role}, whole: token.Participant == 0, expires: token.Expires,
		again: func(ctx context.Context) error { _, err := g.holder(ctx, hash); return err }}
	if !who.whole {
		who.ids = []participant.ID{token.Participant}
	}
	return who, nil
}

// user is whom an identity provider vouches for. Why it was refused is for the operator alone.
func (g *gate) user(ctx context.Context, token string) (caller, error) {
	u, err := g.users.Verify(ctx, token)
	if err != nil {
		g.log.WarnContext(ctx, "bearer token refused", logError(err))
		return caller{}, errUnknown
	}
	return caller{id: u.ID, name: u.Actor, roles: u.Roles, whole: u.Whole, slugs: u.Participants, expires: u.Expires,
		again: func(ctx context.Context) error { _, err := g.user(ctx, token); return err }}, nil
}

// again judges the token of a caller that entered before: streams outlive the moment in which it was good.
func (g *gate) again(ctx context.Context) error { return from(ctx).again(ctx) }

// hold lets a stream last as long as its token: the context ends, with the reason as its cause, when the token expires, and at the next look
// after it was deleted or could not be read. stop ends the looking and must be called.
func (g *gate) hold(ctx context.Context) (held context.Context, stop func()) {
	held, cancel := context.WithCancelCause(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		look := time.NewTicker(g.every)
		defer look.Stop()
		var expired <-chan time.Time
		if expires := from(held).expires; !expires.IsZero() {
			timer := time.NewTimer(expires.Sub(g.now()))
			defer timer.Stop()
			expired = timer.C
		}
		for {
			select {
			case <-held.Done():
				return
			case <-expired:
				cancel(errUnknown)
			case <-look.C:
				if err := g.again(held); err != nil {
					cancel(err)
				}
			}
		}
	})
	return held, func() {
		cancel(nil)
		looking.Wait()
	}
}

// ended tells why a stream ended: when its token did, that is the reason, whatever came of it.
func ended(ctx context.Context, err error) error {
	if f, ok := context.Cause(ctx).(*fault.Error); ok && err != nil {
		return f
	}
	return err
}

// locate finds the participant. One that the token must not see is as absent as one that does not exist.
func (g *gate) locate(ctx context.Context, s scope, who caller, slug string) (participant.Participant, error) {
	const op = "rpc.locate"
	absent := fault.New(op, fault.NotFound, "there is no such participant")
	switch {
	case s == visible:
		return participant.Participant{}, nil
	case s == process || s == either && slug == "":
		if !who.whole {
			return participant.Participant{}, fault.New(op, fault.Forbidden, "a token of the whole process is needed")
		}
		return participant.Participant{}, nil
	case participant.ValidSlug(slug) != nil:
		return participant.Participant{}, absent
	}
	local, err := g.store.Participant(ctx, slug)
	switch {
	case fault.Is(err, fault.NotFound):
		return local, absent
	case err != nil:
		return local, fault.Wrap(op, fault.Unavailable, err)
	case !who.sees(local):
		return participant.Participant{}, absent
	}
	return local, nil
}

// HashToken returns what the store knows of a bearer token: its SHA-256, hexadecimal. A token has 256 random bits, so that a
// fast hash is enough.
func HashToken(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
