package postgres

import (
	"encoding/binary"
	"time"
)

// Parameters and results in PostgreSQL's binary format (its source:
// src/backend/utils/adt, the *send and *recv functions), which for a batch of
// thousands is much cheaper than going through the driver's type map.

// Type oids, from pg_type.dat.
const (
	oidBool    = 16
	oidBytea   = 17
	oidInt8    = 20
	oidText    = 25
	oidJSON    = 114
	oidVarchar = 1043
	oidUUID    = 2950
	oidJSONB   = 3802

	oidTimestamptz = 1184
)

// postgresEpoch is 2000-01-01 in microseconds since 1970.
const postgresEpoch = 946_684_800_000_000

func int8Param(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }

func boolParam(v bool) []byte {
	if v {
		return []byte{1}
	}
	return []byte{0}
}

func instantParam(t time.Time) []byte { return int8Param(microseconds(t)) }

// microseconds is a time as PostgreSQL counts it.
func microseconds(t time.Time) int64 { return t.UnixMicro() - postgresEpoch }

func int64Of(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

func int32Of(b []byte) int32 { return int32(binary.BigEndian.Uint32(b)) }

func boolOf(b []byte) bool { return b[0] != 0 }

// instant converts a timestamptz. Infinities and the years beyond Go's time have
// no time of their own: they become the zero time.
func instant(micros int64) time.Time {
	const limit = 8_000_000_000_000_000 * 30 // about the year 9600
	if micros > limit || micros < -limit {
		return time.Time{}
	}
	return time.UnixMicro(micros + postgresEpoch).UTC()
}

// array builds a one-dimensional array parameter.
type array struct{ buf []byte }

// newArray starts an array of n elements, of about size bytes each.
func newArray(oid uint32, n, size int) array {
	a := array{buf: make([]byte, 0, 20+n*(4+size))}
	if n == 0 {
		a.int32(0) // dimensions
		a.int32(0)
		a.int32(oid)
		return a
	}
	a.int32(1)
	a.int32(1) // there may be nulls
	a.int32(oid)
	a.int32(uint32(n))
	a.int32(1) // lower bound
	return a
}

func (a *array) int32(v uint32) { a.buf = binary.BigEndian.AppendUint32(a.buf, v) }

func (a *array) int8(v int64) {
	a.int32(8)
	a.buf = binary.BigEndian.AppendUint64(a.buf, uint64(v))
}

func (a *array) bytes(v []byte) {
	a.int32(uint32(len(v)))
	a.buf = append(a.buf, v...)
}

func (a *array) text(v string) {
	a.int32(uint32(len(v)))
	a.buf = append(a.buf, v...)
}

func (a *array) bool(v bool) {
	a.int32(1)
	if v {
		a.buf = append(a.buf, 1)
		return
	}
	a.buf = append(a.buf, 0)
}

func (a *array) null() { a.int32(0xffffffff) }

func textArray(values []string) []byte {
	a := newArray(oidText, len(values), 16)
	for _, v := range values {
		a.text(v)
	}
	return a.buf
}

func int8Array(values []int64) []byte {
	a := newArray(oidInt8, len(values), 8)
	for _, v := range values {
		a.int8(v)
	}
	return a.buf
}

// int8sOf reads an array of bigint without NULLs.
func int8sOf(b []byte) []int64 {
	const head, element = 20, 12 // one dimension; a length and eight bytes
	if len(b) <= head {
		return nil
	}
	values := make([]int64, 0, (len(b)-head)/element)
	for b = b[head:]; len(b) >= element; b = b[element:] {
		values = append(values, int64Of(b[4:]))
	}
	return values
}
