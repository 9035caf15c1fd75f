package engine

// memory is what a term holds in memory: rows, and keys whose rows wait. The loop,
// the intake and the tail share it, all on the loop's goroutine.
type memory struct {
	dispatcher *dispatcher // which row may go next
	taken      *takenRows  // which rows were taken
	outside    *outside    // which rows wait for their outcome outside the window
	holds      *holds      // which keys wait
	topics     *fullTopics // which topics wait, and how many of their rows may come
}

// newMemory makes an empty one. outsideBytes bounds the rows outside the window.
func newMemory(l limits, o Ordering, outsideBytes int64) memory {
	return memory{
		dispatcher: newDispatcher(l, o), taken: newTakenRows(), outside: newOutside(outsideBytes),
		holds: newHolds(), topics: newFullTopics(l.window),
	}
}
