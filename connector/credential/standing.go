package credential

import (
	"context"
	"errors"
	"time"
)

// The answers of Stands that are about the credential; every other error says that its issuer could not be asked.
var (
	ErrRevoked   = errors.New(codeRevoked)
	ErrSuspended = errors.New(codeSuspended)
)

// Stands asks how the issuer stands by a credential that is held here: nil, ErrRevoked or ErrSuspended. until is when the lists that say so come
// to their own end, zero when they have none.
func (l *Lists) Stands(ctx context.Context, c Stored) (until time.Time, err error) {
	r, err := parse(c.Token, maxCredential)
	if err != nil {
		return time.Time{}, err
	}
	places, err := placesOf(r)
	if err != nil {
		return time.Time{}, err
	}
	until, err = l.check(ctx, places)
	var said *Refusal
	switch {
	case errors.As(err, &said) && said.Code == codeRevoked:
		return until, ErrRevoked
	case errors.As(err, &said) && said.Code == codeSuspended:
		return until, ErrSuspended
	}
	return until, err
}
