package engine

import (
	"sync"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestFIFOKeepsOrderAcrossItsRingsEnd(t *testing.T) {
	var q fifo[int]
	in, out := 0, 0
	for round := range 50 {
		for range round % 7 {
			q.push(in)
			in++
		}
		for q.len > round%3 {
			if got := q.pop(); got != out {
				t.Fatalf("pop = %d, want %d", got, out)
			}
			out++
		}
	}
}

func TestFIFOForgetsWhatLeftIt(t *testing.T) {
	var q fifo[*int]
	for range 10 {
		q.push(new(int))
	}
	for q.len > 0 {
		q.pop()
	}
	for i, p := range q.ring {
		if p != nil {
			t.Errorf("slot %d still points to an element that left", i)
		}
	}
}

func TestMailboxLosesNothingUnderManySenders(t *testing.T) {
	b := newMailbox[int]()
	const senders, each = 8, 5000
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for i := range each {
				b.put(i)
			}
		})
	}
	sum, n := 0, 0
	for n < senders*each {
		<-b.ready
		for _, v := range b.take() {
			sum += v
			n++
		}
	}
	wg.Wait()
	if want := senders * each * (each - 1) / 2; sum != want {
		t.Fatalf("sum %d, want %d", sum, want)
	}
}

func TestMessageIDRoundTrip(t *testing.T) {
	const s = "018f2c4e-7a3b-4c5d-8e9f-0a1b2c3d4e5f"
	id, err := relay.ParseMessageID(s)
	if err != nil || id.String() != s {
		t.Fatalf("ParseMessageID(%q) = %v, %v", s, id, err)
	}
	for _, bad := range []string{"", s + "0", s[:35] + "g", "018f2c4e_7a3b-4c5d-8e9f-0a1b2c3d4e5f"} {
		if _, err := relay.ParseMessageID(bad); err == nil {
			t.Errorf("ParseMessageID(%q) accepts what is not a uuid", bad)
		}
	}
}
