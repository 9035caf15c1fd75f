package admin

import (
	"errors"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay"
)

// hidden stands where an error is, for who may not see it. It is not empty: what is
// empty where all is well stays told apart.
const hidden = "the reason is shown on the relay's host, and with OUTBOX_ADMIN_TOKEN"

// redact takes out of a status what a caller who is not trusted may not see: the texts of
// errors, which name hosts, users and values of rows, and keys.
func redact(st relay.Status) relay.Status {
	for _, text := range []*string{&st.Reason, &st.Stalled, &st.SinkDown, &st.TableDown, &st.NotPurged, &st.Foreign, &st.Doubt, &st.Pause.By, &st.Pause.Reason} {
		if *text != "" {
			*text = hidden
		}
	}
	st.UnmarkableRows, st.LateTopicsTold = slices.Clone(st.UnmarkableRows), slices.Clone(st.LateTopicsTold)
	for i := range st.UnmarkableRows {
		st.UnmarkableRows[i].Error = hidden
	}
	for i := range st.LateTopicsTold {
		st.LateTopicsTold[i].Why = hidden
	}
	st.HeldKeysTold = nil
	return st
}

var errHidden = errors.New(hidden)

// status is what the relay says to a caller.
func (s *Server) status(c caller) relay.Status {
	st := s.options.Status()
	if c.trusted() {
		return st
	}
	return redact(st)
}

// census is what was counted, for a caller.
func (s *Server) census(c caller) relay.Census {
	if s.options.Census == nil {
		return relay.Census{}
	}
	counted := s.options.Census()
	if counted.Err != nil && !c.trusted() {
		counted.Err = errHidden
	}
	if counted.Partitions != "" && !c.trusted() {
		counted.Partitions = hidden
	}
	return counted
}
