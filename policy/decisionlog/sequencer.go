package decisionlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// What a log gives that cannot be shown to continue what it once signed. Nothing is signed then.
var (
	ErrRolledBack = errors.New("the log is behind or beside a checkpoint that it signed earlier: an undeclared copy of an earlier time, or changed")
	ErrUnmarked   = errors.New("the checkpoint store knows nothing of this log: what it signed earlier cannot be told")
)

// Ledger is the log in a database, scoped by the slug of the hosted participant. Entries come in through the transaction of
// their effect, without index; only Sequence gives indexes.
type Ledger interface {
	// Unsequenced returns up to max committed entries without index, in an order that is stable while they have none.
	Unsequenced(ctx context.Context, log string, max int) ([]Entry, error)
	// LogHead returns the tree head; the zero Head for a log without entries.
	LogHead(ctx context.Context, log string) (Head, error)
	// Sequence gives the ids the indexes old.Size, old.Size+1, … and stores next as head, in one transaction. It fails with a
	// fault of kind Conflict, and changes nothing, when the stored head is not old (size and fence). It stores Fence old+1.
	Sequence(ctx context.Context, log string, old, next Head, ids []string) error
	// LogEntries returns up to max sequenced entries from index from on, in order.
	LogEntries(ctx context.Context, log string, from uint64, max int) ([]Entry, error)
	// LogTail counts committed entries without index.
	LogTail(ctx context.Context, log string) (int, error)
	// Restored returns the declared restore that the log has to answer for; the zero Restore when there is none.
	Restored(ctx context.Context, log string) (Restore, error)
	// Recover commits e at index old.Size with next as head, as Sequence does, and notes the restore as recorded, in one transaction. Conflict
	// when there is none, or it was recorded before.
	Recover(ctx context.Context, log string, old, next Head, e Entry) error
	// Resumed ends the restore: the mark has moved to the tree.
	Resumed(ctx context.Context, log string) error
}

// Restore is a filling of the database from a backup.
type Restore struct {
	At       time.Time
	Recorded bool // its record is the newest of the log
}

// Mark is what the separate checkpoint store remembers of an origin. It is there, with size 0, before the log is: a log without mark has lost it.
type Mark struct {
	Size   uint64
	Root   []byte // empty in the zero Mark only
	Note   []byte // signed; empty while only intended
	Intent bool   // set before signing, cleared after
}

func (m Mark) exists() bool { return len(m.Root) > 0 }

// Marks keeps the newest mark per origin apart from the database, and is never restored from a backup (rule R6). What it
// returned without error is durable.
type Marks interface {
	Load(ctx context.Context, origin string) (Mark, error) // zero when none
	// Swap replaces old by next; it fails and changes nothing when the stored mark is not old.
	Swap(ctx context.Context, origin string, old, next Mark) error
}

// batch is how many entries get their index in one transaction.
const batch = 1024

// Sequencer gives the entries of one log their index and signs checkpoints. One Sequencer per log and process; several
// processes exclude each other through the head's fence.
type Sequencer struct {
	log    string
	ledger Ledger
	marks  Marks
	signer *Signer
	logger *slog.Logger
	wake   chan struct{}

	mu      sync.Mutex // one drain or signature at a time
	checked bool       // the tree was found consistent with the stored mark
}

// NewSequencer returns a Sequencer for the log.
func NewSequencer(log string, ledger Ledger, marks Marks, signer *Signer, logger *slog.Logger) *Sequencer {
	return &Sequencer{log: log, ledger: ledger, marks: marks, signer: signer, logger: logger, wake: make(chan struct{}, 1)}
}

// Wake tells that entries were committed. It never blocks.
func (s *Sequencer) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

const (
	gather    = 100 * time.Millisecond // what comes within this time shares a transaction
	signEvery = time.Second            // at most one unasked checkpoint in this time; a burst that lasts longer does not put it off
)

// Run sequences after each Wake until the context ends, and signs when a burst is over, or has lasted for signEvery. It returns early, with
// ErrRolledBack or ErrUnmarked, when the log turns out not to be the one that was signed before: nothing may be decided on it then.
func (s *Sequencer) Run(ctx context.Context) error {
	s.Wake() // what an earlier process left
	var overdue <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		if !sleep(ctx, gather) {
			return nil
		}
		if err := s.Drain(ctx); err != nil {
			s.logger.ErrorContext(ctx, "log not sequenced", slog.String("log", s.log), slog.Any("error", err))
			if !sleep(ctx, signEvery) {
				return nil
			}
			s.Wake()
			continue
		}
		if len(s.wake) > 0 {
			if overdue == nil {
				overdue = time.After(signEvery)
			}
			select {
			case <-overdue:
			default:
				continue
			}
		}
		overdue = nil
		_, err := s.Sign(ctx)
		switch {
		case errors.Is(err, ErrRolledBack), errors.Is(err, ErrUnmarked):
			return fmt.Errorf("decision log of %s: %w", s.log, err)
		case err != nil && ctx.Err() == nil:
			s.logger.ErrorContext(ctx, "checkpoint not signed", slog.String("log", s.log), slog.Any("error", err))
		}
		if !sleep(ctx, signEvery) {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Drain sequences what is committed without index when it is called.
func (s *Sequencer) Drain(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drain(ctx)
}

// drain does not wait for a burst to end: what comes while it works is left for the next.
func (s *Sequencer) drain(ctx context.Context) error {
	waiting, err := s.ledger.LogTail(ctx, s.log)
	for err == nil && waiting > 0 {
		var n int
		n, err = s.drainSome(ctx, min(batch, waiting))
		if n == 0 {
			break
		}
		waiting -= n
	}
	return err
}

func (s *Sequencer) drainSome(ctx context.Context, most int) (int, error) {
	entries, err := s.ledger.Unsequenced(ctx, s.log, most)
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	head, err := s.ledger.LogHead(ctx, s.log)
	if err != nil {
		return 0, err
	}
	leaves := make([][]byte, len(entries))
	ids := make([]string, len(entries))
	for i, e := range entries {
		leaves[i], ids[i] = e.Bytes, e.ID
	}
	next, err := head.Append(leaves...)
	if err != nil {
		return 0, err
	}
	if err := s.ledger.Sequence(ctx, s.log, head, next, ids); err != nil {
		return 0, fmt.Errorf("sequence %d entries at %d: %w", len(ids), head.Size, err)
	}
	return len(entries), nil
}

// Sign sequences what is committed when it is called and returns a signed checkpoint of all of it: the stored one when nothing was added.
// It never signs two checkpoints that are not consistent: intent, signature and completion each go through the separate store.
func (s *Sequencer) Sign(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.drain(ctx); err != nil {
		return nil, err
	}
	head, root, err := s.tree(ctx)
	if err != nil {
		return nil, err
	}
	mark, err := s.marks.Load(ctx, s.signer.Origin())
	if err != nil {
		return nil, err
	}
	if err := s.consistent(ctx, mark, head, root); err != nil {
		return nil, err
	}
	if !mark.Intent && mark.Size == head.Size && len(mark.Note) > 0 {
		return mark.Note, nil
	}
	return s.advance(ctx, mark, head.Size, root)
}

// advance signs the tree and moves the mark to it: intent, signature, completion.
func (s *Sequencer) advance(ctx context.Context, mark Mark, size uint64, root []byte) ([]byte, error) {
	origin := s.signer.Origin()
	intent := Mark{Size: size, Root: root, Intent: true}
	if err := s.marks.Swap(ctx, origin, mark, intent); err != nil {
		return nil, err
	}
	signed, err := s.signer.SignCheckpoint(size, root)
	if err != nil {
		return nil, err
	}
	if err := s.marks.Swap(ctx, origin, intent, Mark{Size: size, Root: root, Note: signed}); err != nil {
		return nil, err
	}
	return signed, nil
}

// Begin makes the mark of a log that is about to come into being; its participant must not be hosted yet. ErrRolledBack when the origin has
// signed before: then its database was lost, and must be restored.
func (s *Sequencer) Begin(ctx context.Context) error {
	mark, err := s.marks.Load(ctx, s.signer.Origin())
	switch {
	case err != nil:
		return err
	case mark.Size > 0:
		return ErrRolledBack
	case mark.exists():
		return nil // an earlier attempt came this far
	}
	root, err := Head{}.Root()
	if err != nil {
		return err
	}
	return s.marks.Swap(ctx, s.signer.Origin(), Mark{}, Mark{Root: root})
}

// Open compares the tree with what was signed before: ErrRolledBack when it does not contain it, ErrUnmarked when that is not known. A
// connector calls it before it decides anything. After a declared restore the log says so in a record of its own, once, and goes on from there.
func (s *Sequencer) Open(ctx context.Context, recorder *Recorder, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	mark, err := s.marks.Load(ctx, s.signer.Origin())
	if err != nil {
		return err
	}
	restored, err := s.ledger.Restored(ctx, s.log)
	if err != nil {
		return err
	}
	if !restored.At.IsZero() {
		return s.recover(ctx, mark, recorder, restored, now)
	}
	head, root, err := s.tree(ctx)
	switch {
	case err != nil:
		return err
	case !mark.exists():
		return ErrUnmarked
	case head.Size < mark.Size || head.Size == mark.Size && !bytes.Equal(root, mark.Root):
		return ErrRolledBack
	}
	return nil // whether a longer tree contains the mark is looked at before the first signature
}

// recover records the restore behind everything that came back, then moves the mark to it. Each step is taken once, wherever the process dies.
func (s *Sequencer) recover(ctx context.Context, mark Mark, recorder *Recorder, restored Restore, now time.Time) error {
	if !restored.Recorded {
		if err := s.record(ctx, mark, recorder, restored, now); err != nil {
			return err
		}
	}
	head, root, err := s.tree(ctx)
	if err != nil {
		return err
	}
	if _, err := s.advance(ctx, mark, head.Size, root); err != nil {
		return err
	}
	return s.ledger.Resumed(ctx, s.log)
}

func (s *Sequencer) record(ctx context.Context, mark Mark, recorder *Recorder, restored Restore, now time.Time) error {
	if err := s.drain(ctx); err != nil {
		return err
	}
	head, err := s.ledger.LogHead(ctx, s.log)
	if err != nil {
		return err
	}
	entry, err := recorder.Recovered(mark, head.Size, restored.At, now)
	if err != nil {
		return err
	}
	next, err := head.Append(entry.Bytes)
	if err != nil {
		return err
	}
	return s.ledger.Recover(ctx, s.log, head, next, entry)
}

func (s *Sequencer) tree(ctx context.Context) (Head, []byte, error) {
	head, err := s.ledger.LogHead(ctx, s.log)
	if err != nil {
		return Head{}, nil, err
	}
	root, err := head.Root()
	return head, root, err
}

// consistent refuses a tree without mark, smaller than it or not containing it. Once per process the prefix is recomputed
// from the entries; after that this process is the one that appended.
func (s *Sequencer) consistent(ctx context.Context, mark Mark, head Head, root []byte) error {
	switch {
	case !mark.exists():
		return ErrUnmarked
	case head.Size < mark.Size:
		return ErrRolledBack
	case head.Size == mark.Size:
		if !bytes.Equal(root, mark.Root) {
			return ErrRolledBack
		}
		s.checked = true
		return nil
	case s.checked:
		return nil
	}
	prefix := Head{}
	for prefix.Size < mark.Size {
		n := min(uint64(batch), mark.Size-prefix.Size)
		entries, err := s.ledger.LogEntries(ctx, s.log, prefix.Size, int(n))
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return ErrRolledBack
		}
		leaves := make([][]byte, len(entries))
		for i, e := range entries {
			leaves[i] = e.Bytes
		}
		if prefix, err = prefix.Append(leaves...); err != nil {
			return err
		}
	}
	was, err := prefix.Root()
	if err != nil {
		return err
	}
	if !bytes.Equal(was, mark.Root) {
		return ErrRolledBack
	}
	s.checked = true
	return nil
}

// VerifierKey is the public key of the log's checkpoints.
func (s *Sequencer) VerifierKey() string { return s.signer.VerifierKey() }
