package relay

import (
	"slices"
	"testing"
)

func TestHoldEndsOnlyThroughALaterCompletePass(t *testing.T) {
	h := newHolds()
	h.passBegins()
	h.refuse("k")
	if !h.blocks("k") {
		t.Fatal("a key refused during a pass is not held in that pass")
	}
	h.passCompleted()
	if !h.blocks("k") {
		t.Fatal("the hold ended through the pass that was running when it began")
	}
	h.passBegins()
	if !h.blocks("k") {
		t.Fatal("released before the refusal was committed")
	}
	h.refused("k")
	if !h.blocks("k") {
		t.Fatal("released to a pass whose snapshot is older than the commit of the refusal")
	}
	h.passCompleted()
	h.passBegins()
	if h.blocks("k") {
		t.Fatal("not released to the next pass")
	}
	h.passAbandoned()
	if !h.blocks("k") {
		t.Fatal("a pass that ended early ended the hold")
	}
	h.passBegins()
	h.passCompleted()
	if h.blocks("k") || len(h.keys) != 0 {
		t.Fatal("the hold outlived a complete later pass")
	}
}

func TestHoldRenewedDuringItsPassStays(t *testing.T) {
	h := newHolds()
	h.drop("k")
	h.passBegins()
	h.drop("k") // its head is still waiting for the retry
	if !h.blocks("k") || !slices.Equal(h.excluded(), []string{"k"}) {
		t.Fatal("a renewed hold does not hold for the rest of the pass")
	}
	h.passCompleted()
	if !h.blocks("k") {
		t.Fatal("a renewed hold ended with the pass")
	}
}

func TestInFlightRowLingersUntilThePassHasGoneBy(t *testing.T) {
	f := newInFlight()
	before, ahead, beyond := Ref{ID: 5}, Ref{ID: 50}, Ref{ID: 500}
	for _, r := range []Ref{before, ahead, beyond} {
		f.add(&Message{Ref: r})
	}
	f.passBegins()
	f.passBounded(100)
	f.passReached(10)
	for _, r := range []Ref{before, ahead, beyond} {
		if f.settle(r) == nil {
			t.Fatalf("settle(%v) does not know the row", r)
		}
	}
	if f.has(before) || f.has(beyond) {
		t.Fatal("a row lingers that the pass can no longer bring")
	}
	if !f.has(ahead) {
		t.Fatal("a row left that the running pass can still bring as unsent: it would be published twice")
	}
	f.passReached(50)
	if f.has(ahead) {
		t.Fatal("a row lingers after the pass has gone by")
	}
}

func TestInFlightRowLingersFromTheFirstStatementOn(t *testing.T) {
	f := newInFlight()
	r := Ref{ID: 7}
	f.add(&Message{Ref: r})
	f.passBegins() // its snapshot may be older than the commit of the mark
	f.settle(r)
	if !f.has(r) {
		t.Fatal("the row left while the pass was taking its first snapshot")
	}
	f.passEnded()
	if f.has(r) || len(f.lingering) != 0 {
		t.Fatal("the row outlived the pass")
	}
}

func TestInFlightTellsRowsApartByMessageID(t *testing.T) {
	f := newInFlight()
	f.add(&Message{Ref: Ref{ID: 1, MessageID: MessageID{1}}})
	if f.has(Ref{ID: 1, MessageID: MessageID{2}}) {
		t.Fatal("a new row that reuses an id after TRUNCATE … RESTART IDENTITY is taken for the old one")
	}
}

func TestSuspectNeedsTwoLossesInARow(t *testing.T) {
	s := newSuspects()
	poison, neighbour, passerby := Ref{ID: 1}, Ref{ID: 2}, Ref{ID: 3}
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
	r := Ref{ID: 1}
	s.lossBegins()
	s.lost(r)
	s.lossBegins() // another loss, without it
	s.lossBegins()
	s.lost(r)
	if s.has(r) {
		t.Fatal("suspected although it was not in flight at the loss between")
	}
}
