package wal

// XID is a transaction id as the write-ahead log and pgoutput have it: the lower
// half of a [FullXID]. It wraps around, so two of them say nothing about which
// came first; [Snapshot.Sees] resolves one.
type XID uint32

// firstNormalXID is the first that a transaction can get; the ones below have
// meanings of their own (PostgreSQL's access/transam.h).
const firstNormalXID XID = 3

// FullXID is a transaction id with its epoch, PostgreSQL's xid8. It never wraps.
type FullXID uint64

// resolve returns the full id of x that is nearest to ref, which is right while
// the two are less than 2^31 transactions apart. PostgreSQL stops before any
// running transaction is older than that. ok is false if the full id would lie before
// the first epoch: no such transaction exists.
func (x XID) resolve(ref FullXID) (full FullXID, ok bool) {
	distance := int32(uint32(x) - uint32(ref)) // modulo 2^32, then -2^31 … 2^31-1
	if distance < 0 && FullXID(-int64(distance)) > ref {
		return 0, false
	}
	return ref + FullXID(int64(distance)), true
}
