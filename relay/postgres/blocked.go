package postgres

import (
	"context"
	"slices"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// maxBlocked is how many dead rows a survey looks at for the keys that they block. With
// more it is not complete: passes ask of each row by itself.
const maxBlocked = 20_000

// blocked looks up, in a survey's transaction, which keys are blocked by dead rows, and
// after which id. all says that these are all.
func (s *readSession) blocked(ctx context.Context) (keys map[string]int64, all bool, err error) {
	if s.deadPolicy != BlockDead {
		return nil, true, nil
	}
	keys = make(map[string]int64)
	rows := 0
	err = s.try(ctx, s.statements.blocked, args{"most": int8Param(maxBlocked + 1)}, func(c *columns) func([][]byte) {
		id, key := c.at("id"), c.at("key")
		return func(row [][]byte) {
			rows++
			if row[key] == nil {
				return
			}
			n := int64Of(row[id])
			if first, known := keys[string(row[key])]; !known || n < first {
				keys[string(row[key])] = n
			}
		}
	})
	return keys, rows <= maxBlocked, err
}

// checkDeadPolicy: without its index a dead row's key would be looked for in all dead rows,
// for each row.
func (s *session) checkDeadPolicy(ctx context.Context, p DeadPolicy) error {
	if p != BlockDead {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	t, err := s.lookUpTable(ctx)
	if err != nil {
		return err
	}
	indexes, err := s.indexes(ctx, t)
	if err != nil {
		return err
	}
	name := s.table.DeadKeyIndex().Name
	if !slices.ContainsFunc(indexes, func(i indexFacts) bool { return i.Name == name && i.Valid }) {
		return &flaw{
			found:  "OUTBOX_DEAD_POLICY=block needs the index " + sqltext.Identifier(name) + ", which is missing or not valid",
			advice: "run outbox-relay migrate",
			fix:    fixMigrate,
		}
	}
	return nil
}
