package postgres

import (
	"crypto/rand"
	"math"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// maxGaps is how many rows that are not of the batch a range may have for each that is.
// Each costs the server a fifth of what looking up a row costs it.
const maxGaps = 1

// nobody is a message id that no row has: it is in the places of a range that are not in
// the batch. Nobody can write a row with it, for it is made anew by each process.
var nobody = func() (id relay.MessageID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}()

// rangeArgs are the parameters of a batch as a range of ids. near says whether it is one:
// the ids are close together, as they are where a backlog is sent, and none of the rows
// has a note.
func (c *control) rangeArgs(marks []relay.Mark) (given args, near bool) {
	lowest, highest := int64(math.MaxInt64), int64(math.MinInt64)
	for _, m := range marks {
		if m.Note != "" {
			return nil, false
		}
		lowest, highest = min(lowest, m.ID), max(highest, m.ID)
	}
	span := uint64(highest) - uint64(lowest) // also where that is more than an int64 holds
	if span >= uint64(len(marks))*(1+maxGaps) {
		return nil, false
	}
	messageIDs := make([]relay.MessageID, span+1)
	for i := range messageIDs {
		messageIDs[i] = nobody
	}
	for _, m := range marks {
		place := &messageIDs[m.ID-lowest]
		if *place != nobody {
			return nil, false // an id that was given out twice
		}
		*place = m.MessageID
	}
	list := newArray(oidUUID, len(messageIDs), 16)
	for i := range messageIDs {
		list.bytes(messageIDs[i][:])
	}
	given = args{"lowest": int8Param(lowest), "highest": int8Param(highest), "message_ids": list.buf}
	if c.layout.partitioned {
		given.addLocation(len(marks), func(i int) int64 { return marks[i].ID }, func(i int) time.Time { return marks[i].CreatedAt })
	}
	return given, true
}
