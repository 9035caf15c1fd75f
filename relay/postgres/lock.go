package postgres

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// lockKey is an advisory lock. Advisory locks belong to a database, so the
// table's name is enough to tell the relays of one table from others.
type lockKey int64

// newLockKey is the lock that makes a relay the leader of a table, and the name
// of the channel on which a leader that resigns wakes the standbys.
func newLockKey(table schema.Table) lockKey { return hashLock("outbox-relay:" + table.Quoted()) }

// newStandbyKey is the lock that all standbys of a table share, by which a leader
// knows that there are any.
func newStandbyKey(table schema.Table) lockKey {
	return hashLock("outbox-relay standby:" + table.Quoted())
}

func hashLock(name string) lockKey {
	sum := sha256.Sum256([]byte(name))
	return lockKey(binary.BigEndian.Uint64(sum[:8]))
}

// channel is a name that needs no quoting.
func (k lockKey) channel() string { return fmt.Sprintf("outbox_relay_%016x", uint64(k)) }

// args name the lock as pg_locks shows it, in two halves. Add others to them.
func (k lockKey) args() sqltext.Args {
	return sqltext.Args{"lock_high": int64(uint64(k) >> 32), "lock_low": int64(uint64(k) & 0xffffffff)}
}
