package worker

import (
	"slices"
	"sync"
	"testing"
)

// take takes what comes until the queue is closed.
func take(q *Queue[int]) []int {
	var all, items []int
	for range q.Ready() {
		var closed bool
		items, closed = q.Swap(items)
		all = append(all, items...)
		if closed {
			break
		}
	}
	return all
}

func TestElementsComeOnceAndInOrder(t *testing.T) {
	const n = 100_000
	q := NewQueue[int]()
	var producer sync.WaitGroup
	producer.Go(func() {
		for i := range n {
			if !q.Put(i) {
				t.Errorf("element %d is refused", i)
			}
		}
		q.Close()
	})
	got := take(q)
	producer.Wait()
	if len(got) != n || !slices.IsSorted(got) || len(slices.Compact(got)) != n {
		t.Errorf("%d elements of %d came, or not in order", len(got), n)
	}
}

func TestClosedQueueGivesWhatItHasAndTakesNoMore(t *testing.T) {
	q := NewQueue[int]()
	q.Put(1)
	q.Put(2)
	q.Close()
	q.Close()
	if q.Put(3) {
		t.Error("a closed queue takes an element")
	}
	if got := take(q); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("the queue had %v", got)
	}
}

func TestManyElementsAreOneWakeUp(t *testing.T) {
	q := NewQueue[int]()
	for i := range 3 {
		q.Put(i)
	}
	<-q.Ready()
	if items, closed := q.Swap(nil); len(items) != 3 || closed {
		t.Errorf("the queue had %v, closed %t", items, closed)
	}
	select {
	case <-q.Ready():
		t.Error("there is a wake-up for nothing")
	default:
	}
	q.Put(3)
	select {
	case <-q.Ready():
	default:
		t.Error("there is no wake-up for an element that came after a swap")
	}
}
