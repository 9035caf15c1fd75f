package link

import (
	"slices"
	"sync"
	"testing"
)

// take takes what comes until the queue is closed.
func take(q *Queue[int]) (all []int) {
	q.Run(func(items []int, _ bool) { all = append(all, items...) })
	return all
}

func TestItemsComeOnceAndInOrder(t *testing.T) {
	const n = 100_000
	q := NewQueue[int]()
	var producer sync.WaitGroup
	producer.Go(func() {
		for i := range n {
			if !q.Put(i) {
				t.Errorf("item %d is refused", i)
			}
		}
		q.Close()
	})
	got := take(q)
	producer.Wait()
	if len(got) != n || !slices.IsSorted(got) || len(slices.Compact(got)) != n {
		t.Errorf("%d items of %d came, or not in order", len(got), n)
	}
}

func TestClosedQueueGivesWhatItHasAndTakesNoMore(t *testing.T) {
	q := NewQueue[int]()
	q.Put(1)
	q.Put(2)
	q.Close()
	q.Close()
	if q.Put(3) {
		t.Error("a closed queue takes an item")
	}
	if got := take(q); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("the queue had %v", got)
	}
}

func TestManyItemsAreOneWakeUp(t *testing.T) {
	q := NewQueue[int]()
	for i := range 3 {
		q.Put(i)
	}
	var calls [][]int
	q.Run(func(items []int, closed bool) {
		calls = append(calls, slices.Clone(items))
		if len(calls) == 1 {
			q.Put(3) // that came meanwhile
		}
		if !closed && len(calls) == 2 {
			q.Close()
		}
	})
	if want := [][]int{{0, 1, 2}, {3}, {}}; !slices.EqualFunc(calls, want, slices.Equal) {
		t.Errorf("the calls had %v, want %v", calls, want)
	}
}

func TestQueueKeepsNoItemThatWasTaken(t *testing.T) {
	q := NewQueue[*int]()
	q.Put(new(int))
	var before []*int
	q.Run(func(items []*int, closed bool) {
		if before != nil && before[0] != nil {
			t.Error("an item that was taken is still held")
		}
		before = items
		q.Close()
	})
}
