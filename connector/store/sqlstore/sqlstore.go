package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/sluice-connector/sluice/connector/commit"
	"github.com/sluice-connector/sluice/connector/fault"
	"github.com/sluice-connector/sluice/connector/store"
	"github.com/sluice-connector/sluice/policy/decisionlog"
)

// Dialect is what differs between the databases.
type Dialect struct {
	Name       string
	Writers    int                       // transactions at once
	Bytes      string                    // column type of bytes
	Counter    string                    // definition of a column that numbers rows as they are inserted
	SkipLocked string                    // appended to the select of a claim
	Bind       func(query string) string // $1 to the database's own form
	Unique     func(error) bool          // a unique or primary key was violated
	Lock       string                    // statement that makes migrations exclusive, "" when opening is
	Snapshot   *sql.TxOptions            // for a consistent backup
	Begin      string                    // begins a write transaction
	Made       string                    // counts the tables called meta: none before the first migration
	// Batch carries out statements in one round trip, in order, until one fails, and tells which; nil: they are prepared and carried out
	// one by one.
	Batch func(ctx context.Context, conn *sql.Conn, statements []Statement) (failed int, err error)
	Local bool // reads end by themselves, and soon: they are not broken off in the middle
}

// Store implements store.Store. It is safe for concurrent use.
type Store struct {
	write   *sql.DB
	read    *sql.DB
	dialect Dialect
	rand    io.Reader

	looking bool // nothing is written
	queue   chan *op
	done    chan struct{} // closed by Close: no more ops
	workers sync.WaitGroup
	once    sync.Once

	hub hub

	mu      sync.Mutex
	queries map[string]*sql.Stmt // prepared on read
}

var _ store.Store = (*Store)(nil)

// New migrates the database and returns a Store over it. It owns both handles from then on.
func New(ctx context.Context, write, read *sql.DB, d Dialect, rand io.Reader) (*Store, error) {
	s := &Store{write: write, read: read, dialect: d, rand: rand, queue: make(chan *op, 1024), done: make(chan struct{}),
		hub: hub{subs: map[int64]map[chan struct{}]struct{}{}}, queries: map[string]*sql.Stmt{}}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	for range max(d.Writers, 1) {
		s.workers.Add(1)
		go s.work()
	}
	return s, nil
}

// Look returns a Store over a database in which nothing is changed: it is not migrated, and each write is refused. store.ErrOlder when it would
// have to be migrated first. The Store owns the handle from then on.
func Look(ctx context.Context, read *sql.DB, d Dialect) (*Store, error) {
	s := &Store{write: read, read: read, dialect: d, looking: true, done: make(chan struct{}),
		hub: hub{subs: map[int64]map[chan struct{}]struct{}{}}, queries: map[string]*sql.Stmt{}}
	var made int
	if err := read.QueryRowContext(ctx, d.Made).Scan(&made); err != nil {
		return nil, s.classify(err)
	}
	if made == 0 {
		return nil, store.ErrOlder
	}
	have, files, err := version(ctx, read)
	switch {
	case err != nil:
		return nil, err
	case have < len(files):
		return nil, fmt.Errorf("%w: schema version %d, where this binary has %d", store.ErrOlder, have, len(files))
	}
	return s, nil
}

// Close waits for the writes under way and closes the database.
func (s *Store) Close() error {
	s.once.Do(func() { close(s.done) })
	s.workers.Wait()
	s.mu.Lock()
	for _, stmt := range s.queries {
		_ = stmt.Close()
	}
	clear(s.queries)
	s.mu.Unlock()
	err := s.write.Close()
	if s.read != s.write {
		err = errors.Join(err, s.read.Close())
	}
	return err
}

// op is one caller's part of a transaction. It may run again, after the group that it was part of could not be committed. Records that
// change nothing else have no run: those of a group are written together.
type op struct {
	ctx         context.Context
	run         func(context.Context, *tx) error
	records     []decisionlog.Entry
	participant int64

	err     error
	refused error   // of this part alone; the others of its transaction do not mind
	touched []int64 // participants whose subscribers are told after the commit
	done    chan struct{}
}

// maxGroup bounds how many callers share a transaction.
const maxGroup = 256

var (
	errClosed  = fault.New("store", fault.Unavailable, "the store is closed")
	errLooking = fault.New("store", fault.Unavailable, "the store was opened for looking at it")
)

// update runs fn in a transaction, alone or with others, and returns when its part is durable or refused. fn may run again, and may
// run while the caller has gone; callers wait for it in any case, so it may write to their variables.
func (s *Store) update(ctx context.Context, fn func(context.Context, *tx) error) error {
	return s.submit(ctx, &op{ctx: ctx, run: fn, done: make(chan struct{})})
}

func (s *Store) submit(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return fault.Wrap("store", fault.Unavailable, err)
	}
	if s.looking {
		return errLooking
	}
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

// work is one writer: a connection of its own, with its statements prepared once.
func (s *Store) work() {
	defer s.workers.Done()
	w := &writer{s: s, stmts: map[string]*sql.Stmt{}}
	defer w.close()
	for {
		select {
		case <-s.done:
			return
		case first := <-s.queue:
			w.serve(s.group(first))
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

// writer commits groups, one at a time.
type writer struct {
	s     *Store
	conn  *sql.Conn
	stmts map[string]*sql.Stmt

	pending    []Statement
	part       *op // whose statements are being made, and after a failure whose it was
	remembered int // ids of tokens since the last sweep
}

func (w *writer) close() {
	for _, stmt := range w.stmts {
		_ = stmt.Close()
	}
	clear(w.stmts)
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

// maxWithout is how many parts of a group may be left out one after the other before each part is committed alone.
const maxWithout = 8

// together commits the parts as one group, which is the usual case. A part that the store refuses is left out and the rest commits without
// it; when nobody is to blame, or too many are, each part is committed alone, so that nobody suffers for another.
func (w *writer) together(live []*op) {
	for range maxWithout {
		blamed, err := w.commit(live)
		if err == nil {
			return
		}
		var typed *fault.Error
		if blamed == nil || !errors.As(err, &typed) || typed.Kind == fault.Unavailable {
			break
		}
		blamed.err = err
		live = slices.DeleteFunc(slices.Clone(live), func(o *op) bool { return o == blamed })
	}
	for _, o := range live {
		_, o.err = w.commit([]*op{o})
	}
}

// serve commits a group and answers each of its callers.
func (w *writer) serve(ops []*op) {
	live := ops[:0:0]
	for _, o := range ops {
		if err := o.ctx.Err(); err != nil {
			o.err = fault.Wrap("store", fault.Unavailable, err)
			continue
		}
		live = append(live, o)
	}
	w.together(live)
	touched := map[int64]struct{}{}
	for _, o := range live {
		if o.err == nil {
			o.err = o.refused
		}
		if o.err == nil {
			if used := commit.UsedOf(o.ctx); used != nil {
				used.Keep()
			}
			for _, p := range o.touched {
				touched[p] = struct{}{}
			}
		}
	}
	for p := range touched {
		w.s.hub.tell(p)
	}
	for _, o := range ops {
		close(o.done)
	}
}

// commit runs the ops in one transaction, all or nothing. blamed is the one at which it failed, nil when it was none of them.
func (w *writer) commit(ops []*op) (blamed *op, err error) {
	if len(ops) == 0 {
		return nil, nil
	}
	ctx := context.Background() // the group's work is not one caller's
	if w.conn == nil {
		conn, err := w.s.write.Conn(ctx)
		if err != nil {
			return nil, w.s.classify(err)
		}
		w.conn = conn
	}
	w.pending, w.part = w.pending[:0], nil
	w.exec(w.s.dialect.Begin)
	if err = w.run(ctx, ops); err == nil {
		err = w.flush(ctx)
	}
	if err != nil {
		blamed = w.part
		w.pending = w.pending[:0]
		if w.plain(ctx, "ROLLBACK") != nil {
			w.close() // the next group gets another connection
		}
		return blamed, w.s.classify(err)
	}
	if err := w.plain(ctx, "COMMIT"); err != nil {
		_ = w.plain(ctx, "ROLLBACK")
		w.close()
		return nil, w.s.classify(err)
	}
	return nil, nil
}

// run runs the parts in order; records that stand alone go last, together for each participant.
func (w *writer) run(ctx context.Context, ops []*op) error {
	if err := w.use(ctx, ops); err != nil {
		return err
	}
	records := map[int64][]decisionlog.Entry{}
	for _, o := range ops {
		w.part = o
		switch t := (&tx{w: w}); {
		case o.refused != nil:
		case o.run == nil:
			records[o.participant] = append(records[o.participant], o.records...)
			o.touched = []int64{o.participant}
		default:
			if err := o.run(ctx, t); err != nil {
				return err
			}
			t.claim(commit.OnceOf(o.ctx))
			o.touched = t.touched
		}
	}
	w.part = nil
	for p, entries := range records {
		(&tx{w: w}).records(p, entries)
	}
	return nil
}

// use remembers the tokens on whose strength the parts are written; a part whose token was used before is left out.
func (w *writer) use(ctx context.Context, ops []*op) error {
	var tokens []*commit.Used
	var of []*op
	for _, o := range ops {
		o.refused = nil
		if used := commit.UsedOf(o.ctx); used != nil {
			tokens, of = append(tokens, used), append(of, o)
		}
	}
	if len(tokens) == 0 {
		return nil
	}
	known, err := w.remember(ctx, tokens)
	for i, is := range known {
		if is {
			of[i].refused = &fault.Error{Op: "store", Kind: fault.Unauthenticated, Code: "token.replayed", Reason: "the token was used before"}
		}
	}
	return err
}

// Statement is one that is carried out with others, and what its count of changed rows must be: nil when nobody minds.
type Statement struct {
	Query string
	Args  []any
	Rows  func(n int64) error

	part *op
}

// exec adds a statement to what is carried out before the next answer is needed, at the latest before the commit.
func (w *writer) exec(query string, args ...any) {
	w.pending = append(w.pending, Statement{Query: query, Args: args, part: w.part})
}

// flush carries out what is pending: at once where the database can, else one by one.
func (w *writer) flush(ctx context.Context) error {
	statements := w.pending
	w.pending = w.pending[:0]
	if len(statements) == 0 {
		return nil
	}
	if w.s.dialect.Batch != nil {
		failed, err := w.s.dialect.Batch(ctx, w.conn, statements)
		if err != nil {
			w.part = statements[failed].part
		}
		return err
	}
	for _, s := range statements {
		if err := w.carryOut(ctx, s); err != nil {
			w.part = s.part
			return err
		}
	}
	return nil
}

func (w *writer) carryOut(ctx context.Context, s Statement) error {
	stmt, err := w.stmt(ctx, s.Query)
	if err != nil {
		return err
	}
	res, err := stmt.ExecContext(ctx, s.Args...)
	if err != nil || s.Rows == nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil {
		err = s.Rows(n)
	}
	return err
}

func (w *writer) query(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
	if err := w.flush(ctx); err != nil {
		return err
	}
	stmt, err := w.stmt(ctx, query)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (w *writer) plain(ctx context.Context, statement string) error {
	stmt, err := w.stmt(ctx, statement)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(ctx)
	return err
}

func (w *writer) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := w.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(ctx, w.s.dialect.Bind(query))
	if err != nil {
		return nil, err
	}
	w.stmts[query] = stmt
	return stmt, nil
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

// tx is one caller's part of the transaction that a writer has begun. What it writes is carried out together with the rest; reads see it.
type tx struct {
	w       *writer
	touched []int64
}

func (t *tx) exec(query string, args ...any) { t.w.exec(query, args...) }

// one is exec of a statement that must change exactly one row; conflict is the fault when it does not.
func (t *tx) one(conflict error, query string, args ...any) { t.rows(1, conflict, query, args...) }

func (t *tx) rows(want int64, conflict error, query string, args ...any) {
	t.w.pending = append(t.w.pending, Statement{Query: query, Args: args, part: t.w.part, Rows: func(n int64) error {
		if n != want {
			return conflict
		}
		return nil
	}})
}

// row reads one row; sql.ErrNoRows when there is none.
func (t *tx) row(ctx context.Context, dest []any, query string, args ...any) error {
	err := sql.ErrNoRows
	if failed := t.w.query(ctx, func(row scanner) error {
		err = nil
		return row.Scan(dest...)
	}, query, args...); failed != nil {
		return failed
	}
	return err
}

func (t *tx) query(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
	return t.w.query(ctx, scan, query, args...)
}

// maxPrepared bounds the prepared queries; lists with filters have many forms.
const maxPrepared = 256

// prepared returns the query prepared on the readers.
func (s *Store) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt, ok := s.queries[query]; ok {
		return stmt, nil
	}
	if len(s.queries) >= maxPrepared {
		for text, stmt := range s.queries {
			_ = stmt.Close()
			delete(s.queries, text)
			break
		}
	}
	stmt, err := s.read.PrepareContext(ctx, s.dialect.Bind(query))
	if err != nil {
		return nil, err
	}
	s.queries[query] = stmt
	return stmt, nil
}

// reading refuses a caller that has gone, and lets the others' reads come to their end where that is soon.
func (s *Store) reading(ctx context.Context) (context.Context, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.Wrap("store", fault.Unavailable, err)
	}
	if s.dialect.Local {
		return context.WithoutCancel(ctx), nil
	}
	return ctx, nil
}

// query reads rows; scan is called for each.
func (s *Store) query(ctx context.Context, scan func(scanner) error, query string, args ...any) error {
	ctx, err := s.reading(ctx)
	if err != nil {
		return err
	}
	stmt, err := s.prepared(ctx, query)
	if err != nil {
		return s.classify(err)
	}
	rows, err := stmt.QueryContext(ctx, args...)
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
	ctx, err := s.reading(ctx)
	if err != nil {
		return err
	}
	stmt, err := s.prepared(ctx, query)
	if err != nil {
		return s.classify(err)
	}
	return s.classify(scan(stmt.QueryRowContext(ctx, args...)))
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
		t.exec(`INSERT INTO meta (key, value) VALUES ('ping', '1') ON CONFLICT (key) DO UPDATE SET value = '1'`)
		return nil
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
