package postgres

import (
	"context"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay"
)

// maxMembers bounds how many are told.
const maxMembers = 50

// members are the sessions that hold the leadership lock or the one that standbys share.
func (d *Database) members(ctx context.Context, s *session) ([]relay.Member, error) {
	members := []relay.Member{}
	for _, lock := range []lockKey{d.lock, d.standby} {
		holders, err := s.holders(ctx, lock)
		if err != nil {
			return nil, err
		}
		for _, h := range holders {
			if len(members) < maxMembers {
				members = append(members, relay.Member{
					Name: strings.TrimPrefix(h.Application, relaysOf(s.table)), PID: h.PID, Leads: lock == d.lock, Relay: h.Relay,
				})
			}
		}
	}
	return members, nil
}
