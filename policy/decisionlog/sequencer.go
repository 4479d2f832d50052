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

// ErrRolledBack is what a log gives that is smaller than, or inconsistent with, what it once signed. Nothing is signed then.
var ErrRolledBack = errors.New("the log is behind or beside a checkpoint that it signed earlier: restored from a backup, or changed")

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
}

// Mark is what the separate checkpoint store remembers of an origin.
type Mark struct {
	Size   uint64
	Root   []byte
	Note   []byte // signed; empty while only intended
	Intent bool   // set before signing, cleared after
}

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
	signEvery = time.Second            // at most one unasked checkpoint in this time
)

// Run sequences after each Wake until the context ends, and signs when a burst is over.
func (s *Sequencer) Run(ctx context.Context) {
	s.Wake() // what an earlier process left
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		if !sleep(ctx, gather) {
			return
		}
		if err := s.Drain(ctx); err != nil {
			s.logger.ErrorContext(ctx, "log not sequenced", slog.String("log", s.log), slog.Any("error", err))
			if !sleep(ctx, signEvery) {
				return
			}
			s.Wake()
			continue
		}
		if len(s.wake) > 0 {
			continue
		}
		if _, err := s.Sign(ctx); err != nil && ctx.Err() == nil {
			s.logger.ErrorContext(ctx, "checkpoint not signed", slog.String("log", s.log), slog.Any("error", err))
		}
		if !sleep(ctx, signEvery) {
			return
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

// Drain sequences until nothing committed is without index.
func (s *Sequencer) Drain(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drain(ctx)
}

func (s *Sequencer) drain(ctx context.Context) error {
	for {
		entries, err := s.ledger.Unsequenced(ctx, s.log, batch)
		if err != nil || len(entries) == 0 {
			return err
		}
		head, err := s.ledger.LogHead(ctx, s.log)
		if err != nil {
			return err
		}
		leaves := make([][]byte, len(entries))
		ids := make([]string, len(entries))
		for i, e := range entries {
			leaves[i], ids[i] = e.Bytes, e.ID
		}
		next, err := head.Append(leaves...)
		if err != nil {
			return err
		}
		if err := s.ledger.Sequence(ctx, s.log, head, next, ids); err != nil {
			return fmt.Errorf("sequence %d entries at %d: %w", len(ids), head.Size, err)
		}
	}
}

// Sign sequences what is committed and returns a signed checkpoint of all of it: the stored one when nothing was added.
// It never signs two checkpoints that are not consistent: intent, signature and completion each go through the separate store.
func (s *Sequencer) Sign(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.drain(ctx); err != nil {
		return nil, err
	}
	head, err := s.ledger.LogHead(ctx, s.log)
	if err != nil {
		return nil, err
	}
	root, err := head.Root()
	if err != nil {
		return nil, err
	}
	origin := s.signer.Origin()
	mark, err := s.marks.Load(ctx, origin)
	if err != nil {
		return nil, err
	}
	if err := s.consistent(ctx, mark, head, root); err != nil {
		return nil, err
	}
	if !mark.Intent && mark.Size == head.Size && len(mark.Note) > 0 {
		return mark.Note, nil
	}
	intent := Mark{Size: head.Size, Root: root, Intent: true}
	if err := s.marks.Swap(ctx, origin, mark, intent); err != nil {
		return nil, err
	}
	signed, err := s.signer.SignCheckpoint(head.Size, root)
	if err != nil {
		return nil, err
	}
	if err := s.marks.Swap(ctx, origin, intent, Mark{Size: head.Size, Root: root, Note: signed}); err != nil {
		return nil, err
	}
	return signed, nil
}

// Check compares the tree with what was signed before; ErrRolledBack when it does not contain it. A connector calls it
// before it decides anything.
func (s *Sequencer) Check(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	head, err := s.ledger.LogHead(ctx, s.log)
	if err != nil {
		return err
	}
	root, err := head.Root()
	if err != nil {
		return err
	}
	mark, err := s.marks.Load(ctx, s.signer.Origin())
	if err != nil {
		return err
	}
	if head.Size < mark.Size || head.Size == mark.Size && len(mark.Root) > 0 && !bytes.Equal(root, mark.Root) {
		return ErrRolledBack
	}
	return nil
}

// consistent refuses a tree that is smaller than the mark or does not contain it. Once per process the prefix is recomputed
// from the entries; after that this process is the one that appended.
func (s *Sequencer) consistent(ctx context.Context, mark Mark, head Head, root []byte) error {
	switch {
	case mark.Size == 0:
		return nil
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
