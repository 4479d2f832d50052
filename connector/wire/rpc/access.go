package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/store"
	pb "github.com/sluice-connector/sluice/schemas/gen/sluice/v1"
)

// The roles of a token, as the store keeps them.
const (
	Operator = "operator" // everything
	Reader   = "reader"   // everything that changes nothing
	Auditor  = "auditor"  // decisions, agreements and events
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
)

// rules is the whole table: role × method. What has no row is refused. A pull concludes contracts, so it is for operators;
// asking a peer for its catalog changes nothing here, but speaks in the company's name: operators and readers.
var rules = []rule{
	{pb.ParticipantService_CreateParticipant_FullMethodName, process, operators, true},
	{pb.ParticipantService_GetParticipant_FullMethodName, hosted, everyone, false},
	{pb.ParticipantService_ListParticipants_FullMethodName, visible, everyone, false},

	{pb.TokenService_CreateToken_FullMethodName, either, operators, true},
	{pb.TokenService_ListTokens_FullMethodName, either, operators, false},
	{pb.TokenService_DeleteToken_FullMethodName, either, operators, true},

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

	{pb.CatalogService_RequestCatalog_FullMethodName, hosted, readers, false},
	{pb.CatalogService_RequestDataset_FullMethodName, hosted, readers, false},

	{pb.NegotiationService_BeginNegotiation_FullMethodName, hosted, operators, true},
	{pb.NegotiationService_GetNegotiation_FullMethodName, hosted, readers, false},
	{pb.NegotiationService_ListNegotiations_FullMethodName, hosted, readers, false},
	{pb.NegotiationService_OfferNegotiation_FullMethodName, hosted, operators, true},
	{pb.NegotiationService_ProposeNegotiation_FullMethodName, hosted, operators, true},
	{pb.NegotiationService_ApproveNegotiation_FullMethodName, hosted, operators, true},
	{pb.NegotiationService_TerminateNegotiation_FullMethodName, hosted, operators, true},

	{pb.AgreementService_GetAgreement_FullMethodName, hosted, everyone, false},
	{pb.AgreementService_ListAgreements_FullMethodName, hosted, everyone, false},
	{pb.AgreementService_RetireAgreement_FullMethodName, hosted, operators, true},

	{pb.TransferService_BeginTransfer_FullMethodName, hosted, operators, true},
	{pb.TransferService_GetTransfer_FullMethodName, hosted, readers, false},
	{pb.TransferService_ListTransfers_FullMethodName, hosted, readers, false},
	{pb.TransferService_SuspendTransfer_FullMethodName, hosted, operators, true},
	{pb.TransferService_ResumeTransfer_FullMethodName, hosted, operators, true},
	{pb.TransferService_CompleteTransfer_FullMethodName, hosted, operators, true},
	{pb.TransferService_TerminateTransfer_FullMethodName, hosted, operators, true},
	{pb.TransferService_Pull_FullMethodName, hosted, operators, true},

	{pb.DecisionService_GetLog_FullMethodName, hosted, everyone, false},
	{pb.DecisionService_GetDecision_FullMethodName, hosted, everyone, false},
	{pb.DecisionService_ListDecisions_FullMethodName, hosted, everyone, false},
	{pb.DecisionService_ExportLog_FullMethodName, hosted, everyone, false},

	{pb.EventService_Watch_FullMethodName, hosted, everyone, false},
}

// caller is who calls, about which participant. local is zero where the call is about the whole process.
type caller struct {
	token store.Token
	local participant.Participant
}

// actor names the caller in events and in the log.
func (c caller) actor() string { return c.token.Label }

type callerKey struct{}

// from returns the caller; the gate has put it there for every call that reaches a handler.
func from(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// gate lets a call in or refuses it.
type gate struct {
	store Store
	now   func() time.Time
	rules map[string]rule
	every time.Duration // between two looks at the token of a stream
}

func newGate(s Store, now func() time.Time) *gate {
	g := &gate{store: s, now: now, rules: map[string]rule{}, every: 30 * time.Second}
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
	token, err := g.authenticate(ctx, authorization)
	if err != nil {
		return nil, rule{}, err
	}
	local, err := g.locate(ctx, r.scope, token, slug)
	if err != nil {
		return nil, rule{}, err
	}
	if !slices.Contains(r.roles, token.Role) {
		return nil, rule{}, fault.New(op, fault.Forbidden, "a token of the role %s may not do this", token.Role)
	}
	return context.WithValue(ctx, callerKey{}, caller{token: token, local: local}), r, nil
}

// authenticate finds the token. Every failure that is the caller's looks the same.
func (g *gate) authenticate(ctx context.Context, authorization string) (store.Token, error) {
	scheme, secret, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") || secret == "" || len(secret) > 256 {
		return store.Token{}, errUnknown
	}
	return g.valid(ctx, HashToken(secret))
}

var errUnknown = fault.New("rpc.authenticate", fault.Unauthenticated, "a valid bearer token is needed")

func (g *gate) valid(ctx context.Context, hash string) (store.Token, error) {
	token, err := g.store.Token(ctx, hash)
	switch {
	case fault.Is(err, fault.NotFound):
		return store.Token{}, errUnknown
	case err != nil:
		return store.Token{}, fault.Wrap("rpc.authenticate", fault.Unavailable, err)
	case !token.Expires.IsZero() && !g.now().Before(token.Expires):
		return store.Token{}, errUnknown
	}
	return token, nil
}

// again judges the token of a caller that entered before: streams outlive the moment in which it was good.
func (g *gate) again(ctx context.Context) error {
	_, err := g.valid(ctx, from(ctx).token.Hash)
	return err
}

// hold lets a stream last as long as its token: the context ends, with the reason as its cause, when the token expires, and at the next look
// after it was deleted or could not be read. stop ends the looking and must be called.
func (g *gate) hold(ctx context.Context) (held context.Context, stop func()) {
	held, cancel := context.WithCancelCause(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		look := time.NewTicker(g.every)
		defer look.Stop()
		var expired <-chan time.Time
		if expires := from(held).token.Expires; !expires.IsZero() {
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
func (g *gate) locate(ctx context.Context, s scope, token store.Token, slug string) (participant.Participant, error) {
	const op = "rpc.locate"
	absent := fault.New(op, fault.NotFound, "there is no such participant")
	switch {
	case s == visible:
		return participant.Participant{}, nil
	case s == process || s == either && slug == "":
		if token.Participant != 0 {
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
	case token.Participant != 0 && token.Participant != local.ID:
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
