package turn_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-connector/sluice/connector/turn"
)

// served lets each of the lines do its work in the queue, in the order in which they come, and returns the order in which they went.
func served(t *testing.T, q *turn.Queue, lines ...string) []string {
	t.Helper()
	var mu sync.Mutex
	var order []string
	var all sync.WaitGroup
	for _, line := range lines {
		all.Go(func() {
			leave, err := q.Enter(turn.For(t.Context(), line))
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			mu.Lock()
			order = append(order, line)
			mu.Unlock()
			time.Sleep(time.Second)
		})
		synctest.Wait()
	}
	all.Wait()
	return order
}

func TestLinesTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := served(t, turn.New(1, 1, 10), "flood", "flood", "flood", "flood", "honest", "other", "flood", "honest")
		want := []string{"flood", "honest", "other", "flood", "honest", "flood", "flood", "flood"}
		if !slices.Equal(got, want) {
			t.Errorf("went %v, want %v", got, want)
		}
	})
}

func TestALineHasNoMoreThanItsShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := turn.New(4, 3, 10)
		for range 3 {
			if _, err := q.Enter(turn.For(t.Context(), "slow")); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(turn.For(t.Context(), "slow"), time.Minute)
		defer cancel()
		if _, err := q.Enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a fourth place: %v, want to wait for ever", err)
		}
		if leave, err := q.Enter(turn.For(t.Context(), "honest")); err != nil {
			t.Errorf("the last place: %v", err)
		} else {
			leave()
		}
	})
}

func TestALineIsOnlySoLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := turn.New(1, 1, 3)
		leave, err := q.Enter(turn.For(t.Context(), "flood"))
		if err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(func() {
				leave, err := q.Enter(turn.For(t.Context(), "flood"))
				if err != nil {
					t.Error(err)
					return
				}
				leave()
			})
		}
		synctest.Wait()
		if _, err := q.Enter(turn.For(t.Context(), "flood")); !errors.Is(err, turn.ErrFull) {
			t.Errorf("one too many got %v", err)
		}
		leave()
		waiting.Wait()
	})
}

func TestOurOwnWorkHasNoBoundButThePlaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := turn.New(4, 1, 1)
		for range 4 {
			if _, err := q.Enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := q.Enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a fifth place: %v, want to wait for ever", err)
		}
	})
}

func TestWhoGivesUpLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := turn.New(1, 1, 1000)
		leave, err := q.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var gone sync.WaitGroup
		for i := range 1000 {
			gone.Go(func() {
				if _, err := q.Enter(turn.For(ctx, fmt.Sprint(i))); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		gone.Wait()
		if n := q.Lines(); n != 1 {
			t.Errorf("%d lines are left, want the one that holds the place", n)
		}
		leave()
		if n := q.Lines(); n != 0 {
			t.Errorf("%d lines are left", n)
		}
		if leave, err := q.Enter(t.Context()); err != nil {
			t.Error(err)
		} else {
			leave()
		}
	})
}
