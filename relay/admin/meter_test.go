package admin

import (
	"testing"
	"time"
)

func TestRateIsThatOfTheWindow(t *testing.T) {
	var m meter
	now := time.Unix(1_800_000_000, 0)
	if rate, window := m.rate(); rate != 0 || window != 0 {
		t.Errorf("nothing known: %v in %v s", rate, window)
	}
	count := uint64(1_000_000) // of a relay that has run before
	m.add(now, count)
	if rate, _ := m.rate(); rate != 0 {
		t.Errorf("one reading: %v", rate)
	}
	pass := func(seconds int, perSecond uint64) {
		for range 2 * seconds {
			now = now.Add(500 * time.Millisecond)
			count += perSecond / 2
			m.add(now, count)
		}
	}
	pass(10, 100)
	if rate, window := m.rate(); rate != 100 || window != 10 {
		t.Errorf("young: %v in %v s, want 100 in 10 s", rate, window)
	}
	pass(100, 40)
	if rate, window := m.rate(); rate != 40 || window < 30 || window > 31 {
		t.Errorf("later: %v in %v s, want 40 in 30 s", rate, window)
	}
	pass(31, 0)
	if rate, _ := m.rate(); rate != 0 {
		t.Errorf("silent for the window: %v", rate)
	}
	if n := len(m.readings); n > 40 {
		t.Errorf("%d readings are kept", n)
	}
}
