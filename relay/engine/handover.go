package engine

// handover collects outcomes for the marker, so that it gets many at once. The loop owns it.
type handover struct {
	outcomes []outcome // collected since the marker was given some
	handed   uint64    // how many the marker was given
}

func (h *handover) add(o outcome) { h.outcomes = append(h.outcomes, o) }

// give gives the marker what was collected.
func (h *handover) give(to *marker) {
	if len(h.outcomes) == 0 {
		return
	}
	h.handed += uint64(len(h.outcomes))
	to.outcomes.put(h.outcomes...)
	h.outcomes = h.outcomes[:0]
}

// empty says whether nothing is collected.
func (h *handover) empty() bool { return len(h.outcomes) == 0 }

// arrived says whether the marker has received all there is, if it has received so many.
func (h *handover) arrived(received uint64) bool { return h.empty() && received == h.handed }
