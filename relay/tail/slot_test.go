package tail

import (
	"strings"
	"testing"
)

func TestSlotNamesAreValidAndDifferent(t *testing.T) {
	for _, prefix := range []string{"", "outbox_relay", "Tenant-7", "ü \"'\\\x00", strings.Repeat("x", 200), strings.Repeat("ü", 200)} {
		a, b := newSlotName(prefix), newSlotName(prefix)
		if !a.valid() || !b.valid() || a == b {
			t.Errorf("%q: %s and %s", prefix, a, b)
		}
	}
	for _, name := range []SlotName{"", "A", "a-b", "ü", SlotName(strings.Repeat("x", 64))} {
		if name.valid() {
			t.Errorf("%q is valid", name)
		}
	}
}
