package directory

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/participant"
)

const (
	copyLife = 15 * time.Minute // for which a copy is fresh
	copyLast = 24 * time.Hour   // for which one that cannot be had anew is good
	copyRest = time.Minute      // between two tries to have it anew
	patience = 20 * time.Second
	maxKept  = 64 // copies; each participant has its own, for each shows its own proof
)

// Source gets the directory of a participant's ecosystem, inflated and bounded, with the participant's proof of membership. Its end is the caller's to
// close. A participant whose ecosystem has none configured is NotFound.
type Source interface {
	Directory(ctx context.Context, local participant.Participant) (io.ReadCloser, error)
}

// Reader answers from directories. It is safe for concurrent use.
type Reader struct {
	source Source
	now    func() time.Time
	log    *slog.Logger
	group  singleflight.Group

	mu   sync.Mutex
	kept map[participant.ID]kept
}

type kept struct {
	book  *book // nil when none was ever had
	good  time.Time
	tried time.Time
	err   error // of the last try
}

// NewReader returns a Reader.
func NewReader(source Source, now func() time.Time, log *slog.Logger) *Reader {
	return &Reader{source: source, now: now, log: log, kept: map[participant.ID]kept{}}
}

// DID returns who the number belongs to.
func (r *Reader) DID(ctx context.Context, local participant.Participant, number string) (participant.DID, error) {
	const op = "directory.DID"
	if !ValidNumber(number) {
		return "", fault.New(op, fault.Malformed, "%.40q is no number of a legal entity: want BPNL and twelve of 0-9 and A-Z", number)
	}
	b, err := r.book(ctx, local)
	if err != nil {
		return "", err
	}
	did, there := b.dids[number]
	switch {
	case !there:
		return "", &fault.Error{Op: op, Kind: fault.NotFound, Subject: number, Reason: "the directory does not know this number"}
	case did == "":
		return "", &fault.Error{Op: op, Kind: fault.Conflict, Subject: number, Code: "directory.ambiguous", Reason: "the directory has several DIDs for this number: say which by naming the DID"}
	}
	return did, nil
}

// Number returns the number of a DID, for people: it proves nothing.
func (r *Reader) Number(ctx context.Context, local participant.Participant, did participant.DID) (string, error) {
	const op = "directory.Number"
	b, err := r.book(ctx, local)
	if err != nil {
		return "", err
	}
	number, there := b.numbers[did]
	switch {
	case !there:
		return "", &fault.Error{Op: op, Kind: fault.NotFound, Subject: string(did), Reason: "the directory does not know this DID"}
	case number == "":
		return "", &fault.Error{Op: op, Kind: fault.Conflict, Subject: string(did), Code: "directory.ambiguous", Reason: "the directory has several numbers for this DID"}
	}
	return number, nil
}

// book returns a copy that may be used: fresh, or the last good one for a day. It is had anew when somebody asks and it is no longer fresh.
func (r *Reader) book(ctx context.Context, local participant.Participant) (*book, error) {
	if k, ok := r.usable(local.ID); ok {
		return k.answer()
	}
	// What is fetched serves everybody who waits: it does not hang on one caller's patience.
	result := r.group.DoChan(local.Slug, func() (any, error) {
		k, ok := r.usable(local.ID)
		if !ok {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			k = r.fetch(ctx, local, k)
		}
		return k, nil
	})
	select {
	case <-ctx.Done():
		return nil, fault.Wrap("directory.read", fault.Unavailable, ctx.Err())
	case got := <-result:
		return got.Val.(kept).answer()
	}
}

func (k kept) answer() (*book, error) {
	if k.book == nil {
		return nil, k.err
	}
	return k.book, nil
}

// usable returns what is kept, without a copy that is too old, and whether that is to be used as it is.
func (r *Reader) usable(id participant.ID) (kept, bool) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.kept[id]
	if k.book != nil && now.Sub(k.good) >= copyLast {
		k.book = nil
	}
	return k, ok && (k.book != nil && now.Sub(k.good) < copyLife || now.Sub(k.tried) < copyRest)
}

func (r *Reader) fetch(ctx context.Context, local participant.Participant, k kept) kept {
	fresh, err := r.read(ctx, local)
	k.tried, k.err = r.now(), err
	switch {
	case err == nil:
		k.book, k.good = fresh, k.tried
		if fresh.skipped > 0 {
			r.log.WarnContext(ctx, "rows of the directory skipped", slog.String("participant", local.Slug), slog.Int("rows", fresh.skipped))
		}
	case fault.Is(err, fault.NotFound):
		k.book = nil // there is none any more
	case k.book != nil:
		r.log.WarnContext(ctx, "directory not had anew, the last good copy is used", slog.String("participant", local.Slug),
			slog.Time("copy", k.good), slog.Time("until", k.good.Add(copyLast)), slog.Any("error", err))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.kept[local.ID]; !there && len(r.kept) >= maxKept {
		for id := range r.kept { // any: it is had anew when it is asked for
			delete(r.kept, id)
			break
		}
	}
	r.kept[local.ID] = k
	return k
}

func (r *Reader) read(ctx context.Context, local participant.Participant) (*book, error) {
	const op = "directory.read"
	body, err := r.source.Directory(ctx, local)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, fault.Wrap(op, fault.NotFound, err)
		}
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	defer body.Close()
	b, err := parse(body)
	if err != nil {
		return nil, &fault.Error{Op: op, Kind: fault.Unavailable, Reason: "the directory cannot be read", Err: err}
	}
	return b, nil
}
