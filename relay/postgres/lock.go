package postgres

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/outbox-relay/outbox-relay/schema"
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

// isHeld is the SQL condition on pg_locks by which the lock is granted to
// somebody in this database. prefix is that of the columns, such as "l.".
func (k lockKey) isHeld(prefix string) string {
	return fmt.Sprintf(`%[1]slocktype = 'advisory' AND %[1]sgranted AND %[1]sobjsubid = 1
		AND %[1]sclassid = %[2]d::bigint::oid AND %[1]sobjid = %[3]d::bigint::oid
		AND %[1]sdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())`,
		prefix, uint64(k)>>32, uint64(k)&0xffffffff)
}
