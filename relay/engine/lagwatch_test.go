package engine

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestLagWatch(t *testing.T) {
	t.Parallel()
	const e = inspectEvery
	for name, c := range map[string]struct {
		looks []relay.TailLag // one after the other
		pause time.Duration
		falls bool // at the last of them
	}{
		"the first tells nothing":    {[]relay.TailLag{{Read: 1, End: 100}}, e, false},
		"behind, three times":        {[]relay.TailLag{{Read: 1, End: 10}, {Read: 2, End: 20}, {Read: 3, End: 30}, {Read: 4, End: 40}}, e, true},
		"behind, twice":              {[]relay.TailLag{{Read: 1, End: 10}, {Read: 2, End: 20}, {Read: 3, End: 30}}, e, false},
		"an interval behind, always": {[]relay.TailLag{{Read: 1, End: 10}, {Read: 10, End: 20}, {Read: 20, End: 30}, {Read: 30, End: 40}}, e, false},
		"idle":                       {[]relay.TailLag{{Read: 9, End: 9}, {Read: 9, End: 9}, {Read: 9, End: 9}, {Read: 9, End: 9}}, e, false},
		"caught up between":          {[]relay.TailLag{{Read: 1, End: 10}, {Read: 2, End: 20}, {Read: 20, End: 30}, {Read: 21, End: 40}, {Read: 22, End: 50}}, e, false},
		"catching up":                {[]relay.TailLag{{Read: 0, End: 1000}, {Read: 1000, End: 1700}, {Read: 1600, End: 2100}, {Read: 2050, End: 2400}, {Read: 2300, End: 2500}}, e, false},
		"behind and catching up":     {[]relay.TailLag{{Read: 0, End: 1000}, {Read: 500, End: 1200}, {Read: 1000, End: 1300}, {Read: 1250, End: 1400}, {Read: 1390, End: 1500}}, e, false},
		"catching up too slowly":     {[]relay.TailLag{{Read: 0, End: 1000}, {Read: 300, End: 1250}, {Read: 600, End: 1500}, {Read: 900, End: 1750}}, e, true},
		"in bursts":                  {[]relay.TailLag{{Read: 0, End: 100}, {Read: 50, End: 200}, {Read: 90, End: 315}, {Read: 200, End: 366}}, e, true},
		"out of turn":                {[]relay.TailLag{{Read: 1, End: 10}, {Read: 2, End: 20}, {Read: 3, End: 30}, {Read: 4, End: 40}}, e / 10, false},
	} {
		var w lagWatch
		now := time.Now()
		for _, look := range c.looks {
			now = now.Add(c.pause)
			w.inspected(look, now)
		}
		if falls := w.fallsBehind(); falls != c.falls {
			t.Errorf("%s: falls behind %t, want %t", name, falls, c.falls)
		}
	}
}
