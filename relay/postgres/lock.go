package postgres

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/outbox-relay/outbox-relay/schema"
)

// lockKey is the advisory lock that makes a relay the leader of a table, and
// the channel on which a leader that resigns wakes the standbys. Advisory locks
// belong to a database, so the table's name is enough.
type lockKey int64

func newLockKey(table schema.Table) lockKey {
	sum := sha256.Sum256([]byte("outbox-relay:" + table.Quoted()))
	return lockKey(binary.BigEndian.Uint64(sum[:8]))
}

// channel is a name that needs no quoting.
func (k lockKey) channel() string { return fmt.Sprintf("outbox_relay_%016x", uint64(k)) }

// halves are what pg_locks shows as classid and objid.
func (k lockKey) halves() (high, low int64) {
	return int64(uint64(k) >> 32), int64(uint64(k) & 0xffffffff)
}
