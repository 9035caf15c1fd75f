package engine

// memory is what a term has of the table: rows, and keys whose rows wait. The loop,
// the intake and the tail share it, all on the loop's goroutine.
type memory struct {
	dispatcher *dispatcher // which row may go next
	flight     *inFlight   // which rows are on their way
	holds      *holds      // which keys wait
}

func newMemory(l limits, o Ordering) memory {
	return memory{dispatcher: newDispatcher(l, o), flight: newInFlight(), holds: newHolds()}
}
