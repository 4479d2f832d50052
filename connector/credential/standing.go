package credential

import (
	"context"
	"errors"
	"time"
)

// The answers of Stands and AtHand that are about the credential; every other error says that its issuer could not be asked.
var (
	ErrRevoked   = errors.New(codeRevoked)
	ErrSuspended = errors.New(codeSuspended)
)

// Revocable reports whether a credential that is held names status lists that may say something against it.
func Revocable(c Stored) bool {
	places, err := heldPlaces(c)
	return err != nil || len(places) > 0
}

// Stands asks how the issuer stands by a credential that is held here: nil, ErrRevoked or ErrSuspended. until is when the lists that say so come
// to their own end, zero when they have none.
func (l *Lists) Stands(ctx context.Context, c Stored) (until time.Time, err error) {
	places, err := heldPlaces(c)
	if err != nil {
		return time.Time{}, err
	}
	until, err = l.check(ctx, places)
	var said *Refusal
	if errors.As(err, &said) {
		err = against(said.Code, err)
	}
	return until, err
}

// AtHand is Stands by what is remembered alone; nobody is asked. ok is false when that is not enough to say anything.
func (l *Lists) AtHand(c Stored) (ok bool, err error) {
	places, err := heldPlaces(c)
	if err != nil {
		return false, nil
	}
	now := l.cfg.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	ok = true
	for _, p := range places {
		r, known := l.records[p.entry.List]
		if !known || r.version == nil {
			ok = false
			continue
		}
		code, _ := l.judge(*r.version, p)
		if said := against(code, nil); said != nil {
			return true, said
		}
		ok = ok && code == "" && now.Before(r.version.fresh)
	}
	return ok, nil
}

func heldPlaces(c Stored) ([]place, error) {
	r, err := parse(c.Token, maxCredential)
	if err != nil {
		return nil, err
	}
	return placesOf(r)
}

// against is what a step's code says of the credential itself, else err.
func against(code string, err error) error {
	switch code {
	case codeRevoked:
		return ErrRevoked
	case codeSuspended:
		return ErrSuspended
	}
	return err
}
