package engine

import (
	"strconv"
	"testing"
)

func TestKeyFilterKnowsItsKeysAndMistakesFewOthers(t *testing.T) {
	const keys, others = 3_000_000, 100_000
	var f keyFilter
	mistaken := func() map[string]bool {
		t.Helper()
		for i := range keys {
			f.add(strconv.Itoa(i))
		}
		for i := range keys {
			if !f.has(strconv.Itoa(i)) {
				t.Fatalf("key %d is not known", i)
			}
		}
		found := make(map[string]bool)
		for i := range others {
			if key := "other " + strconv.Itoa(i); f.has(key) {
				found[key] = true
			}
		}
		return found
	}
	first := mistaken()
	if len(first) > others/100 {
		t.Errorf("%d of %d other keys are mistaken", len(first), others)
	}
	if f.clear(); f.has("0") {
		t.Error("a key is known after clear")
	}
	again := 0
	for key := range mistaken() {
		if first[key] {
			again++
		}
	}
	if again > others/1000 {
		t.Errorf("%d of %d keys are mistaken again", again, len(first))
	}
}

func TestHoldsHaveRoomForAnyNumberOfKeys(t *testing.T) {
	h := newHolds()
	const keys = maxHashedKeys + 200_000
	for i := range keys {
		h.leave(strconv.Itoa(i))
	}
	if n := len(h.excluded()); n > maxLeftKeys {
		t.Errorf("%d keys go with every chunk", n)
	}
	for i := range keys {
		if !h.blocks(strconv.Itoa(i)) {
			t.Fatalf("key %d is not held", i)
		}
	}
	if h.size() != keys {
		t.Errorf("%d keys are held, want %d", h.size(), keys)
	}
	if len(h.more) > maxHashedKeys {
		t.Errorf("%d keys are kept by their hash", len(h.more))
	}
	h.snapshotBegins()
	if h.size() != 0 || h.blocks("1") || !h.wasHeld(strconv.Itoa(keys-1)) {
		t.Errorf("after the next snapshot %d keys are held", h.size())
	}
}
