package engine

import (
	"slices"
	"strconv"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestHoldEndsOnlyThroughALaterPass(t *testing.T) {
	h := newHolds()
	h.snapshotBegins()
	h.await("k", 1)
	if !h.blocks("k") {
		t.Fatal("a key refused during a pass is not held in that pass")
	}
	h.snapshotBegins()
	if !h.blocks("k") {
		t.Fatal("released before the refusal was committed")
	}
	h.over("k")
	if !h.blocks("k") {
		t.Fatal("released to a pass whose snapshot is older than the commit of the refusal")
	}
	h.snapshotBegins()
	if h.blocks("k") {
		t.Fatal("not released to the next pass")
	}
	h.hold("k") // its head is still waiting for the retry
	if !h.blocks("k") || !slices.Equal(h.excluded(), []string{"k"}) {
		t.Fatal("a renewed hold does not hold for the rest of the pass")
	}
	if !h.valid() {
		t.Error("a refusal was committed more often than it was held")
	}
}

func TestMillionsOfHeldKeysAreBlockedAndForgotten(t *testing.T) {
	h := newHolds()
	h.snapshotBegins()
	const keys = 3 * maxHeldKeys
	for i := range keys {
		h.hold(strconv.Itoa(i))
	}
	for i := range keys {
		h.await("refused "+strconv.Itoa(i), 1)
	}
	for i := range keys {
		h.over("refused " + strconv.Itoa(i))
	}
	if len(h.excluded()) > maxHeldKeys {
		t.Errorf("%d keys go with every chunk, want at most %d", len(h.excluded()), maxHeldKeys)
	}
	for i := range keys {
		if !h.blocks(strconv.Itoa(i)) || !h.blocks("refused "+strconv.Itoa(i)) {
			t.Fatalf("key %d is not held", i)
		}
	}
	if h.blocks("another") {
		t.Error("a key is held that nobody has held")
	}
	h.snapshotBegins()
	if len(h.awaited)+len(h.more) != 0 {
		t.Errorf("%d holds outlived their reasons", len(h.awaited)+len(h.more))
	}
}

func TestTakenRowLingersUntilTheRunningStatementIsTakenIn(t *testing.T) {
	f := newTakenRows()
	r := relay.Ref{ID: 7}
	f.add(&item{Message: &relay.Message{Ref: r}})
	f.statementBegins() // its snapshot may be older than the commit of the mark
	if f.settle(r) == nil {
		t.Fatal("settle does not know the row")
	}
	if !f.has(r) || !f.valid() {
		t.Fatal("the row left while a statement runs that may still bring it as unsent: it would be published twice")
	}
	if f.settle(r) != nil {
		t.Fatal("a row settles twice")
	}
	f.statementEnded()
	if f.has(r) || !f.valid() {
		t.Fatal("the row outlived the statement")
	}
	f.add(&item{Message: &relay.Message{Ref: r}})
	f.settle(r)
	if f.has(r) {
		t.Fatal("the row lingers although nothing runs that could bring it")
	}
}

func TestTakenRowsAreToldApartByMessageID(t *testing.T) {
	f := newTakenRows()
	f.add(&item{Message: &relay.Message{Ref: relay.Ref{ID: 1, MessageID: relay.MessageID{1}}}})
	if f.has(relay.Ref{ID: 1, MessageID: relay.MessageID{2}}) {
		t.Fatal("a new row that reuses an id after TRUNCATE … RESTART IDENTITY is taken for the old one")
	}
}

func TestSuspectNeedsTwoLossesInARow(t *testing.T) {
	s := newSuspects()
	poison, neighbour, passerby := relay.Ref{ID: 1}, relay.Ref{ID: 2}, relay.Ref{ID: 3}
	s.lossBegins()
	s.lost(poison)
	s.lost(neighbour)
	s.lost(passerby)
	if s.has(poison) {
		t.Fatal("suspected after one loss")
	}
	s.cleared(passerby)
	s.lossBegins()
	s.lost(poison)
	s.lost(neighbour)
	s.lost(passerby)
	if !s.has(poison) || !s.has(neighbour) {
		t.Fatal("not suspected after two losses in a row")
	}
	if s.has(passerby) {
		t.Fatal("suspected although it was acknowledged between the losses")
	}
	s.cleared(neighbour)
	s.lossBegins()
	if s.has(neighbour) || !s.has(poison) {
		t.Fatal("suspicion does not follow acknowledgements")
	}
}

func TestLossesThatAreNotInARowMakeNoSuspect(t *testing.T) {
	s := newSuspects()
	r := relay.Ref{ID: 1}
	s.lossBegins()
	s.lost(r)
	s.lossBegins() // another loss, without it
	s.lossBegins()
	s.lost(r)
	if s.has(r) {
		t.Fatal("suspected although it was not with the sink at the loss between")
	}
}

// The keys that are told stay the same while they are held, so that a page does not flicker.
func TestHeldKeysAreToldInTheSameOrder(t *testing.T) {
	h := newHolds()
	for _, key := range []string{"a", "b", "c", "d"} {
		h.hold(key)
	}
	first := h.some(nil, 3)
	if len(first) != 3 || !slices.Equal(h.some(first, 3), first) {
		t.Fatalf("told %v, then %v", first, h.some(first, 3))
	}
	delete(h.awaited, first[0])
	second := h.some(first, 3)
	if len(second) != 3 || !slices.Equal(second[:2], first[1:]) || len(first) != 3 {
		t.Errorf("told %v after %v", second, first)
	}
	h.snapshotBegins()
	if none := h.some(second, 3); none != nil {
		t.Errorf("told %v of no keys", none)
	}
}
