package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/store"
)

// Dialect is what differs between the databases.
type Dialect struct {
	Name       string
	Writers    int                       // transactions at once
	Bytes      string                    // column type of bytes
	SkipLocked string                    // appended to the select of a claim
	Bind       func(query string) string // $1 to the database's own form
	Unique     func(error) bool          // a unique or primary key was violated
	Lock       string                    // statement that makes migrations exclusive, "" when opening is
	Snapshot   *sql.TxOptions            // for a consistent backup
	Begin      string                    // statement that begins a write early, "" for none
}

// Store implements store.Store. It is safe for concurrent use.
type Store struct {
	write   *sql.DB
	read    *sql.DB
	dialect Dialect
	rand    io.Reader

	queue   chan *op
	done    chan struct{} // closed by Close: no more ops
	workers sync.WaitGroup
	once    sync.Once

	hub hub

	mu    sync.Mutex
	bound map[string]string // query -> bound query
}

var _ store.Store = (*Store)(nil)

// New migrates the database and returns a Store over it. It owns both handles from then on.
func New(ctx context.Context, write, read *sql.DB, d Dialect, rand io.Reader) (*Store, error) {
	s := &Store{write: write, read: read, dialect: d, rand: rand, queue: make(chan *op, 1024), done: make(chan struct{}),
		hub: hub{subs: map[int64]map[chan struct{}]struct{}{}}, bound: map[string]string{}}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	for range max(d.Writers, 1) {
		s.workers.Add(1)
		go s.work()
	}
	return s, nil
}

// Close waits for the writes under way and closes the database.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.done) })
	s.workers.Wait()
	err := s.write.Close()
	if s.read != s.write {
		err = errors.Join(err, s.read.Close())
	}
	return err
}

// op is one caller's part of a transaction.
type op struct {
	ctx  context.Context
	run  func(context.Context, *tx) error
	err  error
	done chan struct{}
}

// maxGroup bounds how many callers share a transaction.
const maxGroup = 128

var errClosed = fault.New("store", fault.Unavailable, "the store is closed")

// update runs fn in a transaction, alone or with others, and returns when its part is durable or refused. fn may run while the
// caller has gone; it must not touch the caller's memory after that, so callers wait for it in any case.
func (s *Store) update(ctx context.Context, fn func(context.Context, *tx) error) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap("store", fault.Unavailable, err)
	}
	o := &op{ctx: ctx, run: fn, done: make(chan struct{})}
	select {
	case <-s.done:
		return errClosed
	default:
	}
	select {
	case s.queue <- o:
	case <-s.done:
		return errClosed
	case <-ctx.Done():
		return fault.Wrap("store", fault.Unavailable, ctx.Err())
	}
	select {
	case <-o.done:
		return o.err
	case <-s.done:
		// Closing: either a worker has it still, or nobody will.
		s.workers.Wait()
		select {
		case <-o.done:
			return o.err
		default:
			return errClosed
		}
	}
}

func (s *Store) work() {
	defer s.workers.Done()
	for {
		select {
		case <-s.done:
			return
		case first := <-s.queue:
			s.commit(s.group(first))
		}
	}
}

// group takes what waits already.
func (s *Store) group(first *op) []*op {
	ops := []*op{first}
	for len(ops) < maxGroup {
		select {
		case o := <-s.queue:
			ops = append(ops, o)
		default:
			return ops
		}
	}
	return ops
}

// commit runs the ops in one transaction and answers each.
func (s *Store) commit(ops []*op) {
	defer func() {
		for _, o := range ops {
			close(o.done)
		}
	}()
	ctx := context.Background() // the group's work is not one caller's
	t, err := s.begin(ctx)
	if err != nil {
		s.failAll(ops, err)
		return
	}
	touched := map[int64]struct{}{}
	for _, o := range ops {
		if o.err = o.ctx.Err(); o.err != nil {
			o.err = fault.Wrap("store", fault.Unavailable, o.err)
			continue
		}
		t.touched = nil
		if o.err = s.part(ctx, t, o, len(ops) > 1); o.err == nil {
			for _, p := range t.touched {
				touched[p] = struct{}{}
			}
		} else if t.broken != nil {
			s.failAll(ops, t.broken)
			_ = t.Rollback()
			return
		}
	}
	if len(ops) == 1 && ops[0].err != nil {
		_ = t.Rollback()
		return
	}
	if err := t.Commit(); err != nil {
		s.failAll(ops, err)
		return
	}
	for p := range touched {
		s.hub.tell(p)
	}
}

func (s *Store) begin(ctx context.Context) (*tx, error) {
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	if s.dialect.Begin != "" {
		if _, err := t.ExecContext(ctx, s.dialect.Begin); err != nil {
			_ = t.Rollback()
			return nil, err
		}
	}
	return &tx{Tx: t, s: s}, nil
}

// failAll answers those that were not refused for their own reason.
func (s *Store) failAll(ops []*op, err error) {
	for _, o := range ops {
		if o.err == nil {
			o.err = fault.Wrap("store", fault.Unavailable, err)
		}
	}
}

// part runs one op; in a group, inside a savepoint.
func (s *Store) part(ctx context.Context, t *tx, o *op, grouped bool) error {
	if !grouped {
		return s.classify(o.run(ctx, t))
	}
	if _, t.broken = t.ExecContext(ctx, "SAVEPOINT part"); t.broken != nil {
		return t.broken
	}
	err := s.classify(o.run(ctx, t))
	if err != nil {
		if _, t.broken = t.ExecContext(ctx, "ROLLBACK TO SAVEPOINT part"); t.broken != nil {
			return err
		}
	}
	if _, t.broken = t.ExecContext(ctx, "RELEASE SAVEPOINT part"); t.broken != nil {
		return t.broken
	}
	return err
}

// classify turns a database error into a fault; faults stay as they are.
func (s *Store) classify(err error) error {
	var typed *fault.Error
	switch {
	case err == nil || errors.As(err, &typed):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return fault.Wrap("store", fault.NotFound, err)
	case s.dialect.Unique(err):
		return fault.Wrap("store", fault.Conflict, err)
	}
	return fault.Wrap("store", fault.Unavailable, err)
}

// tx is a transaction with the statements bound for the database.
type tx struct {
	*sql.Tx
	s       *Store
	touched []int64 // participants whose subscribers are told after the commit
	broken  error   // the transaction itself failed
}

func (t *tx) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.ExecContext(ctx, t.s.bind(query), args...)
}

// one runs a statement that must change exactly one row; conflict is the fault when it does not.
func (t *tx) one(ctx context.Context, conflict error, query string, args ...any) error {
	res, err := t.exec(ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n != 1 {
		err = conflict
	}
	return err
}

func (t *tx) row(ctx context.Context, query string, args ...any) *sql.Row {
	return t.QueryRowContext(ctx, t.s.bind(query), args...)
}

func (s *Store) bind(query string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	bound, ok := s.bound[query]
	if !ok {
		bound = s.dialect.Bind(query)
		s.bound[query] = bound
	}
	return bound
}

// query reads rows; scan is called for each.
func (s *Store) query(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
	rows, err := s.read.QueryContext(ctx, s.bind(query), args...)
	if err != nil {
		return s.classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return s.classify(err)
		}
	}
	return s.classify(rows.Err())
}

// get reads one row; NotFound when there is none.
func (s *Store) get(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
	err := scan(s.read.QueryRowContext(ctx, s.bind(query), args...))
	return s.classify(err)
}

type scanner interface{ Scan(dest ...any) error }

// encode and decode are the document column.
func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", v, err)
	}
	return string(b), nil
}

func decode[T any](doc string, v *T) error {
	dec := json.NewDecoder(strings.NewReader(doc))
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("decode %T: %w", *v, err)
	}
	return nil
}

// Ping makes a write durable.
func (s *Store) Ping(ctx context.Context) error {
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO meta (key, value) VALUES ('ping', '1') ON CONFLICT (key) DO UPDATE SET value = '1'`)
		return err
	})
}

// hub tells subscribers that something of a participant was committed.
type hub struct {
	mu   sync.Mutex
	subs map[int64]map[chan struct{}]struct{}
}

func (h *hub) tell(p int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.subs[p] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (h *hub) subscribe(ctx context.Context, p int64) <-chan struct{} {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	if h.subs[p] == nil {
		h.subs[p] = map[chan struct{}]struct{}{}
	}
	h.subs[p][ch] = struct{}{}
	h.mu.Unlock()
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		delete(h.subs[p], ch)
		h.mu.Unlock()
		close(ch)
	})
	return ch
}
