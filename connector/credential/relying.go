package credential

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sluice-connector/sluice/connector/credential/statuslist"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/policy"
)

// looks bounds how often a party is looked at again because a list changed meanwhile.
const looks = 5

// placesIn is where the status of a credential that was believed before is found.
func placesIn(c policy.Credential) []place {
	out := make([]place, 0, len(c.Status))
	for _, s := range c.Status {
		out = append(out, place{entry: statuslist.Entry{Kind: statuslist.Kind(s.Kind), Purpose: s.Purpose, List: s.List, Index: s.Index, Size: s.Size},
			issuer: participant.DID(c.Issuer), until: c.NotAfter})
	}
	return out
}

// upTo are places that matter no longer than until then.
func upTo(end time.Time, places []place) []place {
	out := slices.Clone(places)
	for i := range out {
		out[i].until = sooner(out[i].until, end)
	}
	return out
}

// believes reports whether a credential that was believed before is of an accepted profile, and its issuer may issue its type, now.
func (l *Lists) believes(c policy.Credential) bool {
	return l.cfg.Trust.Trusts(participant.DID(c.Issuer), c.Type) && (c.Profile == "" || l.cfg.Trust.Accepts(c.Profile))
}

// Stand returns what a party proved before, less the credentials whose issuers may not issue them any more, and those that are revoked or suspended by
// lists that may be relied upon now. From then on
// the process of that name depends on the rest: when one of them is lost, OnRevoked says so. When a list cannot be had, beyond any grace, the error is
// of kind Unavailable: nobody may rely on what cannot be confirmed.
func (l *Lists) Stand(ctx context.Context, local participant.Participant, process string, party policy.Party) (policy.Party, error) {
	const op = "credential.Stand"
	ctx, cancel := context.WithTimeout(withBudget(ctx, maxCalls), deadline)
	defer cancel()
	key := pair{local.DID, participant.DID(party.DID)}
	for range looks {
		standing, places, err := l.standing(ctx, party)
		if err != nil {
			return policy.Party{}, &fault.Error{Op: op, Kind: fault.Unavailable, Subject: party.DID, Reason: "what you have proven cannot be confirmed now; try again later", Err: err}
		}
		if l.watch(process, key, places) == "" {
			return standing, nil
		}
	}
	return policy.Party{}, fault.New(op, fault.Unavailable, "what this rests on is changing; try again")
}

func (l *Lists) standing(ctx context.Context, party policy.Party) (policy.Party, []place, error) {
	out := policy.Party{DID: party.DID}
	var all []place
	for _, c := range party.Credentials {
		if !l.believes(c) {
			continue // and nobody is asked on its account
		}
		places := placesIn(c)
		lost := false
		for _, at := range places {
			v, err := l.get(ctx, at)
			if err != nil {
				return out, nil, err
			}
			code, _ := l.judge(v, at)
			lost = lost || code != ""
		}
		if !lost {
			out.Credentials, all = append(out.Credentials, c), append(all, places...)
		}
	}
	return out, all, nil
}

// Rely makes a process depend on all that a party proved, without a look at anything but what is at hand. It returns the code of a credential
// that is seen there to be lost, "" when none is: then OnRevoked says so as soon as one is by its lists. That an issuer is not believed any more is
// said by who calls this again.
func (l *Lists) Rely(local participant.Participant, process string, party policy.Party) string {
	var all []place
	code := ""
	for _, c := range party.Credentials {
		if !l.believes(c) {
			code = codeUntrusted
			continue
		}
		all = append(all, placesIn(c)...)
	}
	return cmp.Or(code, l.watch(process, pair{local.DID, participant.DID(party.DID)}, all))
}

// Leave ends what a process depends on.
func (l *Lists) Leave(process string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unwatch(process)
}
