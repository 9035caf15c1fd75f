package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// fleet is relays side by side, of which one leads.
type fleet struct {
	w      *world
	relays []*relaybin.Process
}

// fleet starts relays one after the other, the first of which leads and reads the
// log. Each gets variables of its own where there are any.
func (w *world) fleet(n int, own ...[]string) *fleet {
	w.t.Helper()
	f := &fleet{w: w}
	for i := range n {
		var variables []string
		if i < len(own) {
			variables = own[i]
		}
		f.relays = append(f.relays, w.relay(variables...))
		if i == 0 {
			f.awaitTailing()
		}
	}
	f.awaitStandby(f.relays[1:]...)
	return f
}

// says is what a relay says of itself; an empty report where it does not answer.
func (f *fleet) says(r *relaybin.Process) admin.Report {
	f.w.t.Helper()
	client, err := admin.NewClient(r.HTTPAddr())
	if err != nil {
		f.w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(f.w.t.Context(), admin.Timeout)
	defer cancel()
	report, err := client.Status(ctx)
	if err != nil {
		return admin.Report{}
	}
	return report
}

// awaitTailing waits until one of the relays leads and reads the log, and returns
// it. Those to be left out are dead, frozen or cut off.
func (f *fleet) awaitTailing(but ...*relaybin.Process) *relaybin.Process {
	f.w.t.Helper()
	return f.awaitOne("reads the log", but, func(_ *relaybin.Process, r admin.Report) bool { return r.Mode == "tailing" })
}

// awaitPublishing waits until one of the relays leads and has more messages
// acknowledged than it has now, and returns it.
func (f *fleet) awaitPublishing(but ...*relaybin.Process) *relaybin.Process {
	f.w.t.Helper()
	before := map[*relaybin.Process]uint64{}
	for _, r := range f.relays {
		if !slices.Contains(but, r) {
			before[r] = f.says(r).PublishedTotal
		}
	}
	return f.awaitOne("publishes", but, func(p *relaybin.Process, r admin.Report) bool {
		return r.Leader && r.PublishedTotal > before[p]
	})
}

func (f *fleet) awaitOne(what string, but []*relaybin.Process, is func(*relaybin.Process, admin.Report) bool) (found *relaybin.Process) {
	f.w.t.Helper()
	f.w.await("a relay "+what, func() bool {
		for _, r := range f.relays {
			if !slices.Contains(but, r) && is(r, f.says(r)) {
				found = r
				return true
			}
		}
		return false
	})
	return found
}

// awaitStandby waits until each of these relays stands by.
func (f *fleet) awaitStandby(relays ...*relaybin.Process) {
	f.w.t.Helper()
	for _, r := range relays {
		f.w.await("a relay stands by", func() bool { return f.says(r).Mode == "standby" })
	}
}

// awaitNoneLeads waits until the relays know that their database is gone.
func (f *fleet) awaitNoneLeads() {
	f.w.t.Helper()
	for _, r := range f.relays {
		f.w.await("a relay leads no more", func() bool { return f.says(r).Mode == "connecting" })
	}
}

// demandOneLeader looks at the relays that can be asked. There may be none for a moment, and
// never two.
func (f *fleet) demandOneLeader(but ...*relaybin.Process) {
	f.w.t.Helper()
	f.w.await("one relay leads", func() bool {
		leaders, modes := f.leaders(but...)
		if leaders > 1 {
			f.w.t.Fatalf("%d relays lead, want 1: %s", leaders, strings.Join(modes, ", "))
		}
		return leaders == 1
	})
}

// leaders counts the relays that lead, and returns the mode of each.
func (f *fleet) leaders(but ...*relaybin.Process) (leaders int, modes []string) {
	f.w.t.Helper()
	for _, r := range f.relays {
		if slices.Contains(but, r) {
			continue
		}
		report := f.says(r)
		modes = append(modes, fmt.Sprintf("%d %s", r.Pid(), report.Mode))
		if report.Leader {
			leaders++
		}
	}
	return leaders, modes
}

// terminate ends the relays, the standbys first: none takes over.
func (f *fleet) terminate() {
	f.w.t.Helper()
	slices.SortStableFunc(f.relays, func(a, b *relaybin.Process) int {
		switch lead := f.says(a).Leader; {
		case lead == f.says(b).Leader:
			return 0
		case lead:
			return 1
		}
		return -1
	})
	for _, r := range f.relays {
		r.Terminate()
	}
}
