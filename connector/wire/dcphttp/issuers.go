package dcphttp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/outbox"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/protocol/dcp"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/schemas/ijson"
)

// Hosted finds a hosted participant by its id.
type Hosted interface {
	ByID(ctx context.Context, id participant.ID) (participant.Participant, error)
}

// Issuers speaks with issuer services for the wallets of the hosted participants.
type Issuers struct {
	agent  *Agent
	hosted Hosted
}

// NewIssuers returns Issuers that speak in the agent's name.
func NewIssuers(a *Agent, h Hosted) *Issuers { return &Issuers{a, h} }

var (
	_ wallet.Issuers = (*Issuers)(nil)
	_ outbox.Sender  = (*Issuers)(nil)
)

// Metadata implements wallet.Issuers.
func (i *Issuers) Metadata(ctx context.Context, local participant.Participant, issuer participant.DID) (string, []wallet.Object, error) {
	const op = "dcphttp.Metadata"
	away := func(reason string, err error) error {
		return &fault.Error{Op: op, Kind: fault.Unavailable, Subject: string(issuer), Reason: reason, Err: err}
	}
	base, err := i.agent.service(ctx, issuer, "IssuerService")
	switch {
	case fault.Is(err, fault.NotFound):
		return "", nil, err
	case err != nil:
		return "", nil, away("the issuer's DID document could not be read", err)
	}
	status, _, body, err := i.agent.ask(ctx, local, issuer, http.MethodGet, base+"/metadata", nil, "", dcp.MaxIssuerMetadata)
	if err != nil || status != http.StatusOK {
		return "", nil, away("the issuer's metadata could not be read", errors.Join(err, fmt.Errorf("status %d", status)))
	}
	m, err := dcp.ParseIssuerMetadata(body)
	if err != nil {
		return "", nil, away("the issuer's metadata is not what it should be", err)
	}
	if m.Issuer != string(issuer) {
		return "", nil, away("the issuer's metadata names another issuer", nil)
	}
	return base, objectsOf(m.Credentials), nil
}

// Status implements wallet.Issuers.
func (i *Issuers) Status(ctx context.Context, local participant.Participant, issuer participant.DID, address string) (string, error) {
	const op = "dcphttp.Status"
	status, _, body, err := i.agent.ask(ctx, local, issuer, http.MethodGet, address, nil, "", dcp.MaxCredentialStatus)
	switch {
	case err != nil:
		return "", fault.Wrap(op, fault.Unavailable, err)
	case status == http.StatusNotFound || status == http.StatusGone:
		return "", fault.New(op, fault.NotFound, "the issuer does not know the request")
	case status != http.StatusOK:
		return "", fault.New(op, fault.Unavailable, "the issuer answered %d", status)
	}
	s, err := dcp.ParseCredentialStatus(body)
	return s.Status, fault.Wrap(op, fault.Unavailable, err)
}

// Send implements outbox.Sender: one attempt, with a fresh token. A redirect is not followed, and no yes.
func (i *Issuers) Send(ctx context.Context, o commit.Owed) (outbox.Answer, error) {
	local, err := i.hosted.ByID(ctx, o.Participant)
	if err != nil {
		return outbox.Answer{}, err
	}
	access, err := i.agent.cfg.Holder.GrantWriting(local, o.Peer, i.agent.cfg.Scopes(local))
	if err != nil {
		return outbox.Answer{}, err
	}
	a, body, err := i.agent.deliver(ctx, local, o, o.URL, access)
	if err == nil && !a.OK() {
		a.Code, a.Reasons = refusalOf(body)
	}
	return a, err
}

// refusalOf reads why an issuer refuses, where it says so as problem details (RFC 9457): for people, so anything else is nothing.
func refusalOf(body []byte) (code string, reasons []string) {
	var p struct {
		Title   string   `json:"title"`
		Detail  string   `json:"detail"`
		Code    string   `json:"code"`
		Reasons []string `json:"reasons"`
	}
	if ijson.Unmarshal(body, ijson.DefaultLimits(), &p) != nil {
		return "", nil
	}
	for _, text := range append([]string{cmp.Or(p.Detail, p.Title)}, p.Reasons...) {
		if text != "" {
			reasons = append(reasons, text)
		}
	}
	return p.Code, reasons
}

// Look implements outbox.Sender: a request has no address before it is answered.
func (i *Issuers) Look(context.Context, commit.Owed) (outbox.Answer, error) {
	return outbox.Answer{}, outbox.ErrNowhere
}

// RequestCodec implements wallet.Codec.
type RequestCodec struct{}

// EncodeRequest implements wallet.Codec.
func (RequestCodec) EncodeRequest(holderPID string, definitions []string) ([]byte, error) {
	return dcp.EncodeCredentialRequest(dcp.CredentialRequest{HolderPID: holderPID, Credentials: definitions})
}
