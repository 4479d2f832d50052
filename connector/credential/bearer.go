package credential

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/participant"
)

// Member verifies a presentation that its holder shows of its own accord, as the bearer token of one request to the hosted participant, and returns who
// the holder is if it proves membership: every credential in it is one that the scope asks for. It is made for the hosted participant or, as
// directories of numbers have it, for its holder itself; either way it is good for one request. Nothing is remembered of it but that.
func (v *Verifier) Member(ctx context.Context, local participant.Participant, token, scope string) (participant.DID, error) {
	did, err := v.member(ctx, local, token, scope)
	if err != nil {
		v.cfg.Log.WarnContext(ctx, "presentation refused", slog.String("participant", string(local.DID)), slog.String("code", CodeOf(err)), slog.Any("error", err))
		return "", &fault.Error{Op: "credential.Member", Kind: fault.Unauthenticated, Reason: "the caller is not known", Err: err}
	}
	return did, nil
}

func (v *Verifier) member(ctx context.Context, local participant.Participant, token, text string) (participant.DID, error) {
	scope, err := v.cfg.Aliases.Parse(text)
	if err != nil {
		return "", err
	}
	if _, _, _, ok := outer(token); ok {
		return "", refuse(codeEnvelope, "want the presentation itself") // an envelope is believed of what was fetched, not of what is handed in
	}
	p, err := parsePresentation(token, false)
	if err != nil {
		return "", err
	}
	holder, _, err := identity.ParseDID(p.claims.Issuer)
	if err != nil {
		return "", &Refusal{Code: codeVPIssuer, Err: err}
	}
	ctx, cancel := context.WithTimeout(withBudget(ctx, maxCalls), deadline)
	defer cancel()
	meant := local
	if audience(p.claims.Audience) == string(holder) {
		meant = participant.Participant{DID: holder}
	}
	p, _, err = v.presentation(ctx, meant, participant.Peer{DID: holder}, token)
	if err != nil {
		return "", err
	}
	if n := len(p.credentials); n == 0 || n > maxCredentials {
		return "", refuse(codeCount, "%d credentials", n)
	}
	for _, raw := range p.credentials {
		c, err := v.credential(ctx, local, holder, p.profile, raw)
		if err != nil {
			return "", err
		}
		if !scope.Selects(c.id, c.types, c.contexts) {
			return "", &Refusal{Code: codeScope, Err: errors.New("a credential that was not asked for")}
		}
	}
	return holder, nil
}
