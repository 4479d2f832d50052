package wallet

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"io"
	"slices"
	"strings"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/process"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// secretPrefix lets people and scanners see what a leaked secret is.
const secretPrefix = "slt_"

func hashSecret(secret string) string { return process.Digest([]byte(secret)) }

// CreateClient lets somebody have tokens made in the participant's name. The secret of 256 random bits is returned here and never again: what is
// kept is its hash.
func (s *Service) CreateClient(ctx context.Context, local participant.Participant, label string, scopes []string, actor string) (c Client, secret string, err error) {
	const op = "wallet.CreateClient"
	if n := len(label); n == 0 || n > 64 {
		return c, "", fault.New(op, fault.Malformed, "label: want 1 to 64 bytes, have %d", n)
	}
	if len(scopes) > MaxScopes {
		return c, "", fault.New(op, fault.Malformed, "scopes: want at most %d", MaxScopes)
	}
	for _, scope := range scopes {
		if _, err := s.cfg.Aliases(local).Parse(scope); err != nil || strings.ContainsAny(scope, " \t\r\n") {
			return c, "", fault.New(op, fault.Malformed, "scope %q: want one like org.eclipse.tractusx.vc.type:MembershipCredential:read", cut(scope, 100))
		}
	}
	all, err := s.cfg.Store.TokenClients(ctx, local.ID)
	if err != nil {
		return c, "", fault.Wrap(op, fault.Internal, err)
	}
	if len(all) >= MaxClients {
		return c, "", fault.New(op, fault.Exhausted, "there are %d clients already", len(all))
	}
	random := make([]byte, 48)
	if _, err := io.ReadFull(s.cfg.Rand, random); err != nil {
		return c, "", fault.Wrap(op, fault.Unavailable, err)
	}
	secret = secretPrefix + base64.RawURLEncoding.EncodeToString(random[16:])
	c = Client{Participant: local.ID, ID: "stc_" + hex.EncodeToString(random[:16]), Label: label, Hash: hashSecret(secret), Scopes: slices.Clone(scopes), Created: s.cfg.Now()}
	entry, err := s.record(ctx, local, "sts.client.create", actor, c.ID, "", "", map[string]string{"label": label, "scopes": strings.Join(scopes, " ")})
	if err != nil {
		return c, "", err
	}
	err = s.cfg.Store.CommitWallet(ctx, local.ID, Change{Clients: []commit.Swap[Client]{{New: &c}}}, commit.Effects{Decisions: []decisionlog.Entry{entry},
		Events: []commit.Event{s.event("sts.client.created", c.ID, actor, map[string]string{"label": label})}})
	return c, secret, fault.Wrap(op, fault.Internal, err)
}

// Clients lists them, by creation.
func (s *Service) Clients(ctx context.Context, local participant.Participant) ([]Client, error) {
	all, err := s.cfg.Store.TokenClients(ctx, local.ID)
	return all, fault.Wrap("wallet.Clients", fault.Internal, err)
}

// DeleteClient ends a client at once; tokens that were made for it live out their minutes.
func (s *Service) DeleteClient(ctx context.Context, local participant.Participant, id, actor string) error {
	const op = "wallet.DeleteClient"
	all, err := s.cfg.Store.TokenClients(ctx, local.ID)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err)
	}
	at := slices.IndexFunc(all, func(c Client) bool { return c.ID == id })
	if at < 0 {
		return &fault.Error{Op: op, Kind: fault.NotFound, Subject: id, Reason: "there is no such client"}
	}
	entry, err := s.record(ctx, local, "sts.client.delete", actor, id, "", "", nil)
	if err != nil {
		return err
	}
	err = s.cfg.Store.CommitWallet(ctx, local.ID, Change{Clients: []commit.Swap[Client]{{Old: &all[at]}}}, commit.Effects{Decisions: []decisionlog.Entry{entry},
		Events: []commit.Event{s.event("sts.client.deleted", id, actor, nil)}})
	return fault.Wrap(op, fault.Internal, err)
}

// Demand is what a client wants of the token service.
type Demand struct {
	Client, Secret string
	Audience       string
	Scopes         []string // of the access that the token is to grant; none: no access
	Token          string   // an access token of somebody else, to be carried
}

// Delegate judges a demand of the token service, and puts it on record before a token is made. Participants without a client have no token service:
// NotFound. Unauthenticated is a client that is not known or does not prove itself; Malformed and Refused say what is wrong to who did.
func (s *Service) Delegate(ctx context.Context, local participant.Participant, d Demand) (participant.DID, error) {
	const op = "wallet.Delegate"
	all, err := s.cfg.Store.TokenClients(ctx, local.ID)
	switch {
	case err != nil:
		return "", fault.Wrap(op, fault.Internal, err)
	case len(all) == 0:
		return "", fault.New(op, fault.NotFound, "there is no token service here")
	}
	// Every client is compared, whoever is meant, so that the time tells nothing.
	hash, proven := []byte(hashSecret(d.Secret)), -1
	for i, c := range all {
		if subtle.ConstantTimeCompare([]byte(c.ID), []byte(d.Client))&subtle.ConstantTimeCompare([]byte(c.Hash), hash) == 1 {
			proven = i
		}
	}
	if proven < 0 {
		return "", fault.New(op, fault.Unauthenticated, "the client is not known")
	}
	audience, _, err := identity.ParseDID(d.Audience)
	switch {
	case err != nil:
		return "", fault.New(op, fault.Malformed, "audience: want a DID of the method web")
	case audience == local.DID:
		return "", fault.New(op, fault.Malformed, "audience: want somebody else's DID")
	case len(d.Scopes) > 0 && d.Token != "":
		return "", fault.New(op, fault.Malformed, "want either bearer_access_scope or token")
	case len(d.Scopes) > MaxScopes:
		return "", fault.New(op, fault.Malformed, "bearer_access_scope: want at most %d scopes", MaxScopes)
	case !all[proven].delegates(d.Scopes, s.cfg.Aliases(local)):
		return "", fault.New(op, fault.Refused, "a scope is not one that this client may delegate")
	}
	entry, err := s.record(ctx, local, "sts.token", all[proven].ID, string(audience), "", "", map[string]string{"scopes": strings.Join(d.Scopes, " ")})
	if err != nil {
		return "", err
	}
	return audience, fault.Wrap(op, fault.Internal, s.cfg.Store.Record(ctx, local.ID, commit.Effects{Decisions: []decisionlog.Entry{entry}}))
}
