package rpc

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/sluice-connector/sluice/connector/agreement"
	"github.com/sluice-connector/sluice/connector/catalog"
	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/directory"
	"github.com/sluice-connector/sluice/connector/exchange"
	"github.com/sluice-connector/sluice/connector/identity"
	"github.com/sluice-connector/sluice/connector/identity/keyring"
	"github.com/sluice-connector/sluice/connector/negotiation"
	"github.com/sluice-connector/sluice/connector/page"
	"github.com/sluice-connector/sluice/connector/participant"
	"github.com/sluice-connector/sluice/connector/publishing"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/connector/transfer"
	"github.com/sluice-connector/sluice/connector/wallet"
	"github.com/sluice-connector/sluice/policy/decisionlog"
	"github.com/sluice-connector/sluice/policy/odrl"
)

// Store is what the API reads directly, and what it writes that no domain service owns. A store.Store implements it.
type Store interface {
	Participant(ctx context.Context, slug string) (participant.Participant, error)
	Participants(ctx context.Context) ([]participant.Participant, error)
	store.Tokens
	store.Idempotency
	Records
	Shelves
	Log
	directory.Store
}

// Records reads what the services wrote.
type Records interface {
	Agreement(ctx context.Context, p participant.ID, id string) (agreement.Agreement, error)
	Agreements(ctx context.Context, p participant.ID, peer participant.DID, r page.Request) (page.Of[agreement.Agreement], error)
	EventsSince(ctx context.Context, p participant.ID, after int64, limit int) ([]commit.Event, error)
	Notify(ctx context.Context, p participant.ID) <-chan struct{}
}

// Shelves reads assets, policies, rules and offers.
type Shelves interface {
	Asset(ctx context.Context, p participant.ID, id string) (catalog.Asset, error)
	Assets(ctx context.Context, p participant.ID, r page.Request) (page.Of[catalog.Asset], error)
	Definition(ctx context.Context, p participant.ID, digest string) (catalog.Definition, error)
	Definitions(ctx context.Context, p participant.ID, r page.Request) (page.Of[catalog.Definition], error)
	Rule(ctx context.Context, p participant.ID, id string) (catalog.Rule, error)
	Rules(ctx context.Context, p participant.ID, r page.Request) (page.Of[catalog.Rule], error)
	AccessPolicies(ctx context.Context, p participant.ID) ([]catalog.Definition, error)
	Entries(ctx context.Context, p participant.ID, access []string, dataset string, r page.Request) (page.Of[catalog.Entry], error)
	// Record commits effects that change nothing else.
	Record(ctx context.Context, p participant.ID, e commit.Effects) error
}

// Log reads a decision log.
type Log interface {
	LogHead(ctx context.Context, log string) (decisionlog.Head, error)
	LogTail(ctx context.Context, log string) (int, error)
	LogEntries(ctx context.Context, log string, from uint64, max int) ([]decisionlog.Entry, error)
}

// Recorder seals an operator's action as a log entry, to be committed with its effect.
type Recorder interface {
	Record(ctx context.Context, a decisionlog.Action) (decisionlog.Entry, error)
}

// Catalog says what is offered. A *catalog.Service implements it.
type Catalog interface {
	Publish(ctx context.Context, local participant.Participant, p catalog.Publication) error
	Define(ctx context.Context, local participant.Participant, name string, p odrl.Policy, access bool, actor string) (catalog.Definition, error)
	Offer(ctx context.Context, local participant.Participant, r catalog.Rule, actor string) (catalog.Rule, error)
	Withdraw(ctx context.Context, local participant.Participant, id string, version int64, actor string) error
	WithdrawRule(ctx context.Context, local participant.Participant, id string, version int64, actor string) error
}

// Negotiations runs contract negotiations. A *negotiation.Service implements it.
type Negotiations interface {
	Begin(ctx context.Context, local participant.Participant, r negotiation.BeginRequest) (negotiation.Negotiation, error)
	Get(ctx context.Context, local participant.Participant, id string) (negotiation.Negotiation, error)
	List(ctx context.Context, local participant.Participant, f negotiation.Filter, r page.Request) (page.Of[negotiation.Negotiation], error)
	BeginOffer(ctx context.Context, local participant.Participant, peer participant.DID, offer, actor string) (negotiation.Negotiation, error)
	Propose(ctx context.Context, local participant.Participant, id string, o negotiation.Offer, order commit.Order) (negotiation.Negotiation, error)
	Approve(ctx context.Context, local participant.Participant, id string, order commit.Order) (negotiation.Negotiation, error)
	Terminate(ctx context.Context, local participant.Participant, id string, order commit.Order) (negotiation.Negotiation, error)
}

// Transfers runs transfer processes. A *transfer.Service implements it.
type Transfers interface {
	Begin(ctx context.Context, local participant.Participant, r transfer.BeginRequest) (transfer.Transfer, error)
	Get(ctx context.Context, local participant.Participant, id string) (transfer.Transfer, error)
	List(ctx context.Context, local participant.Participant, f transfer.Filter, r page.Request) (page.Of[transfer.Transfer], error)
	Suspend(ctx context.Context, local participant.Participant, id string, order commit.Order) (transfer.Transfer, error)
	Resume(ctx context.Context, local participant.Participant, id string, order commit.Order) (transfer.Transfer, error)
	Complete(ctx context.Context, local participant.Participant, id string, order commit.Order) (transfer.Transfer, error)
	Terminate(ctx context.Context, local participant.Participant, id string, order commit.Order) (transfer.Transfer, error)
}

// Puller discovers, negotiates when needed, transfers and fetches. A refusal is a fault of kind Refused with the peer's
// code and reasons. An *exchange.Runner implements it.
type Puller interface {
	Pull(ctx context.Context, local participant.Participant, e exchange.Errand) (exchange.Result, error)
}

// Publisher reads a file, checks it and publishes it. Faults in the file are no error: they are in the outcome. A
// *publishing.Publisher implements it.
type Publisher interface {
	Publish(ctx context.Context, local participant.Participant, f publishing.File, r io.Reader, progress func(done, total int)) (publishing.Outcome, error)
}

// Hosting makes participants: keys, DID document and log come into being with them.
type Hosting interface {
	CreateParticipant(ctx context.Context, slug, name, profile, actor string) (participant.Participant, error)
}

// Wallet is what a participant holds, asks for and is offered, and who may have tokens made. A *wallet.Service implements it.
type Wallet interface {
	Put(ctx context.Context, local participant.Participant, jwt []byte, actor string) (wallet.Credential, error)
	Credentials(ctx context.Context, local participant.Participant) ([]wallet.Credential, error)
	Delete(ctx context.Context, local participant.Participant, id, actor string) error
	Ask(ctx context.Context, local participant.Participant, a wallet.Ask) (wallet.Request, error)
	Request(ctx context.Context, local participant.Participant, id string) (wallet.Request, error)
	Requests(ctx context.Context, local participant.Participant, f wallet.Filter, r page.Request) (page.Of[wallet.Request], error)
	Offers(ctx context.Context, local participant.Participant, f wallet.Filter, r page.Request) (page.Of[wallet.Offer], error)
	Accept(ctx context.Context, local participant.Participant, id, actor string) (wallet.Offer, error)
	Decline(ctx context.Context, local participant.Participant, id, actor string) (wallet.Offer, error)
	CreateClient(ctx context.Context, local participant.Participant, label string, scopes []string, actor string) (wallet.Client, string, error)
	Clients(ctx context.Context, local participant.Participant) ([]wallet.Client, error)
	DeleteClient(ctx context.Context, local participant.Participant, id, actor string) error
}

// Keeper keeps the keys of participants. A *keyring.Keeper implements it.
type Keeper interface {
	List(ctx context.Context, p participant.Participant) ([]store.Key, error)
	Rotate(ctx context.Context, p participant.Participant, r keyring.Rotation) ([]store.Key, error)
	Revoke(ctx context.Context, p participant.Participant, id string, o commit.Order) (store.Key, error)
}

// Logs is the part of the decision logs that has keys.
type Logs interface {
	// VerifierKey returns the public key of the participant's log.
	VerifierKey(ctx context.Context, local participant.Participant) (string, error)
	// Export writes an export into dir, which must not exist.
	Export(ctx context.Context, local participant.Participant, dir string) error
}

// Cursors seals places in lists, bound to who asked and for what. identity.Cursors implements it.
type Cursors interface {
	Seal(local participant.Participant, k page.Key, bind string) (string, error)
	Open(local participant.Participant, token, bind string) (page.Key, error)
}

// Users verifies the bearer tokens of identity providers. An *identity.Users implements it.
type Users interface {
	Verify(ctx context.Context, token string) (identity.User, error)
}

// Retire ends an agreement early and stops what runs under it before it returns.
type Retire func(ctx context.Context, local participant.Participant, id, actor, reason string) error

// Config carries what a Server is made of. All fields are required.
type Config struct {
	Store        Store
	Recorder     Recorder
	Catalog      Catalog
	Negotiations Negotiations
	Transfers    Transfers
	Peers        catalog.Peers
	Puller       Puller
	Publisher    Publisher
	Hosting      Hosting
	Wallet       Wallet
	Issuer       Issuer
	Enabling     Enabling
	Keeper       Keeper
	Logs         Logs
	Retire       Retire
	Cursors      Cursors
	Users        Users
	Trust        Trust
	Directory    Directory
	Metrics      http.Handler // what the process counts

	Temp  string   // directory for exports on their way out
	Hosts []string // names that the API answers to, besides its address
	Now   func() time.Time
	Rand  io.Reader
	Log   *slog.Logger
}
