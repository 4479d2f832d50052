package exchange

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/transfer"
)

// Offers finds what a peer offers us. A catalog.Finder implements it.
type Offers interface {
	Find(ctx context.Context, local participant.Participant, peer participant.DID, dataset, offer string) (string, catalog.RemoteOffer, error)
}

// Negotiations begins contract negotiations and shows them.
type Negotiations interface {
	Begin(ctx context.Context, local participant.Participant, r negotiation.BeginRequest) (negotiation.Negotiation, error)
	Get(ctx context.Context, local participant.Participant, id string) (negotiation.Negotiation, error)
}

// Transfers begins transfers, shows them, and opens the data address of a started one.
type Transfers interface {
	Begin(ctx context.Context, local participant.Participant, r transfer.BeginRequest) (transfer.Transfer, error)
	Get(ctx context.Context, local participant.Participant, id string) (transfer.Transfer, error)
	Address(ctx context.Context, local participant.Participant, id string) (transfer.Address, error)
	Terminate(ctx context.Context, local participant.Participant, id string, order commit.Order) (transfer.Transfer, error)
}

// Agreements finds the agreements in force with a peer about an asset, newest first.
type Agreements interface {
	AgreementsForAsset(ctx context.Context, p participant.ID, peer participant.DID, asset string) ([]agreement.Agreement, error)
	Finalized(ctx context.Context, p participant.ID, agreement string) (bool, error)
}

// Events tells that something of a participant changed: a channel that receives after commits, coalesced, until ctx ends.
type Events interface {
	Notify(ctx context.Context, p participant.ID) <-chan struct{}
}

// Fetcher gets the bytes behind a data address.
type Fetcher interface {
	Fetch(ctx context.Context, a transfer.Address, path string) (Body, error)
}

// Body is what a fetch yields. The caller closes it.
type Body struct {
	io.ReadCloser
	MediaType string
	Length    int64 // -1 when unknown
}

// Config carries what a Runner is made of. All fields are required.
type Config struct {
	Offers       Offers
	Negotiations Negotiations
	Transfers    Transfers
	Agreements   Agreements
	Events       Events
	Fetcher      Fetcher
	Now          func() time.Time
	Log          *slog.Logger
}

// Runner runs errands. It is safe for concurrent use.
type Runner struct{ cfg Config }

// New returns a Runner.
func New(cfg Config) *Runner { return &Runner{cfg} }

// Step names a part of the errand as it is reached.
type Step string

// The steps, in order; Negotiate is left out when an agreement is in force.
const (
	Discover  Step = "discover"
	Negotiate Step = "negotiate"
	Transfer  Step = "transfer"
	Fetch     Step = "fetch"
)

// Errand says what is wanted.
type Errand struct {
	Peer  participant.DID
	Asset string
	Offer string // "" takes the first offer of the dataset
	Path  string // below the asset, for an API behind it
	Fresh bool   // negotiate even when an agreement is in force
	// Standing keeps to agreements that are there: nothing is negotiated.
	Standing bool
	Actor    string
	// Reached, when set, is called at the end of each step with the id of its process ("" for Discover).
	Reached func(Step, string)
}

// Result is a fetched body with the contract it came under. The caller closes Body and may then complete the transfer.
type Result struct {
	Body      Body
	Agreement string
	Transfer  string
}

// Agree runs the errand up to an agreement that can be used, and returns its id: the one in force unless Fresh is set.
func (r *Runner) Agree(ctx context.Context, local participant.Participant, e Errand) (string, error) {
	const op = "exchange.Agree"
	if e.Reached == nil {
		e.Reached = func(Step, string) {}
	}
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	contract, err := r.agree(ctx, r.cfg.Events.Notify(watch, local.ID), local, e)
	return contract, fault.Wrap(op, fault.Internal, err)
}

func (r *Runner) agree(ctx context.Context, changed <-chan struct{}, local participant.Participant, e Errand) (string, error) {
	contract, err := r.inForce(ctx, local, e)
	if err != nil || contract != "" {
		return contract, err
	}
	return r.negotiate(ctx, changed, local, e)
}

// Pull runs the errand. A refusal is a fault of kind Refused that carries the peer's code and reasons. A transfer that does not come to its
// data is terminated. When the time of use of the agreement in force has passed, its terms are agreed on once anew.
func (r *Runner) Pull(ctx context.Context, local participant.Participant, e Errand) (Result, error) {
	const op = "exchange.Pull"
	if e.Reached == nil {
		e.Reached = func(Step, string) {}
	}
	// One subscription for the whole errand, taken before anything is begun, so that no change is missed.
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := r.cfg.Events.Notify(watch, local.ID)

	contract, err := r.inForce(ctx, local, e)
	if err != nil {
		return Result{}, fault.Wrap(op, fault.Internal, err)
	}
	if contract != "" {
		result, err := r.fetch(ctx, changed, local, e, contract)
		if !useEnded(err) || e.Standing {
			return result, err
		}
	}
	if contract, err = r.negotiate(ctx, changed, local, e); err != nil {
		return Result{}, fault.Wrap(op, fault.Internal, err)
	}
	return r.fetch(ctx, changed, local, e, contract)
}

// useEnded reports a refusal because the time of use that the agreement sets has passed.
func useEnded(err error) bool {
	var refused *fault.Error
	return errors.As(err, &refused) && refused.Kind == fault.Refused &&
		slices.ContainsFunc(refused.Reasons, func(reason string) bool { return strings.HasPrefix(reason, "usage-end.passed") })
}

// inForce finds an agreement that can be used; "" when there is none.
func (r *Runner) inForce(ctx context.Context, local participant.Participant, e Errand) (string, error) {
	if e.Fresh {
		return "", nil
	}
	agreements, err := r.cfg.Agreements.AgreementsForAsset(ctx, local.ID, e.Peer, e.Asset)
	if err != nil {
		return "", err
	}
	for _, a := range agreements {
		if a.Role != string(negotiation.Consumer) || a.Retired != nil {
			continue
		}
		final, err := r.cfg.Agreements.Finalized(ctx, local.ID, a.ID)
		if err != nil {
			return "", err
		}
		if final {
			return a.ID, nil
		}
	}
	return "", nil
}

// negotiate concludes an agreement and returns its id.
func (r *Runner) negotiate(ctx context.Context, changed <-chan struct{}, local participant.Participant, e Errand) (string, error) {
	const op = "exchange.negotiate"
	if e.Standing {
		return "", &fault.Error{Op: op, Kind: fault.Forbidden, Subject: e.Asset, Code: "agreement.none", Reason: "no agreement with this peer covers the asset now, and none may be concluded for this caller"}
	}
	dataset, offer, err := r.cfg.Offers.Find(ctx, local, e.Peer, e.Asset, e.Offer)
	if err != nil {
		return "", err
	}
	e.Reached(Discover, "")
	begun, err := r.cfg.Negotiations.Begin(ctx, local, negotiation.BeginRequest{Peer: e.Peer, Actor: e.Actor,
		Offer: negotiation.Offer{ID: offer.ID, Target: dataset, Policy: offer.Policy}})
	if err != nil {
		return "", err
	}
	var n negotiation.Negotiation
	err = await(ctx, changed, func() (done bool, err error) {
		n, err = r.cfg.Negotiations.Get(ctx, local, begun.ID)
		return n.State.Final(), err
	})
	if err != nil {
		return "", err
	}
	if n.State == negotiation.Terminated {
		return "", refusal(op, n.ID, n.Code, n.Reasons, "the negotiation was terminated")
	}
	e.Reached(Negotiate, n.ID)
	return n.AgreementID, nil
}

// fetch starts a transfer under the agreement and opens the data. What fails on the way ends the transfer: nobody would come back for it.
func (r *Runner) fetch(ctx context.Context, changed <-chan struct{}, local participant.Participant, e Errand, contract string) (result Result, err error) {
	const op = "exchange.fetch"
	begun, err := r.cfg.Transfers.Begin(ctx, local, transfer.BeginRequest{Agreement: contract, Format: "HttpData-PULL", Actor: e.Actor})
	if err != nil {
		return Result{}, fault.Wrap(op, fault.Internal, err)
	}
	defer func() {
		if err != nil {
			r.abandon(ctx, local, begun.ID, e.Actor, err)
		}
	}()
	var t transfer.Transfer
	err = await(ctx, changed, func() (done bool, err error) {
		t, err = r.cfg.Transfers.Get(ctx, local, begun.ID)
		return t.State == transfer.Started || t.State.Final(), err
	})
	if err != nil {
		return Result{}, fault.Wrap(op, fault.Internal, err)
	}
	if t.State != transfer.Started {
		return Result{}, refusal(op, t.ID, t.Code, t.Reasons, "the transfer was terminated")
	}
	e.Reached(Transfer, t.ID)
	address, err := r.cfg.Transfers.Address(ctx, local, t.ID)
	if err != nil {
		return Result{}, fault.Wrap(op, fault.Internal, err)
	}
	body, err := r.cfg.Fetcher.Fetch(ctx, address, e.Path)
	if err != nil {
		return Result{}, fault.Wrap(op, fault.Internal, err)
	}
	e.Reached(Fetch, t.ID)
	return Result{Body: body, Agreement: contract, Transfer: t.ID}, nil
}

// abandon terminates a transfer that failed, also when the caller has gone. One that ended by itself is left as it is.
func (r *Runner) abandon(ctx context.Context, local participant.Participant, id, actor string, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	reason := "the data could not be fetched"
	if errors.Is(cause, context.Canceled) {
		reason = "the data is not wanted any more"
	}
	_, err := r.cfg.Transfers.Terminate(ctx, local, id, commit.Order{Actor: actor, Reason: reason})
	if err != nil && !fault.Is(err, fault.Conflict) {
		r.cfg.Log.ErrorContext(ctx, "transfer left open", slog.String("transfer", id), slog.Any("error", err))
	}
}

// await returns when done says so; it looks again after each change.
func await(ctx context.Context, changed <-chan struct{}, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Wrap("exchange.await", fault.Unavailable, context.Cause(ctx))
		case _, open := <-changed:
			if !open {
				return fault.New("exchange.await", fault.Unavailable, "the store stopped telling of changes")
			}
		}
	}
}

func refusal(op, subject, code string, reasons []string, otherwise string) error {
	return &fault.Error{Op: op, Kind: fault.Refused, Subject: subject, Code: code, Reason: otherwise, Reasons: reasons}
}
