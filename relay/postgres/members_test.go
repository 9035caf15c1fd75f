package postgres_test

import (
	"context"
	"sync"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// The relays are looked up while somebody watches, the leader first, and what is no relay
// is told from them.
func TestRelaysAreLookedUpForWhoWatches(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	leader, standby := f.standBehind(t)
	defer leader.Close()
	defer standby.Close()
	census := f.database().NewCensus()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { census.Run(ctx) })
	defer func() { stop(); running.Wait() }()
	eventually(t, "the rows are counted", func() bool { return !census.Latest().At.IsZero() })
	if members := census.Latest().Members; members != nil {
		t.Errorf("%v are looked up, and nobody watches", members)
	}
	census.Watch()
	var members []relay.Member
	eventually(t, "the relays are there", func() bool { members = census.Latest().Members; return members != nil })
	if len(members) != 2 || !members[0].Leads || members[1].Leads || !members[0].Relay || !members[1].Relay || members[0].Name == "" || members[0].PID == 0 {
		t.Errorf("%+v (%v)", members, census.Latest().MembersErr)
	}
}
