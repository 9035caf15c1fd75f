package admin

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Report is what /status serves.
type Report struct {
	Identity
	Doing
	Origin
	Pause
	Stall
	Broker
	Unwritten
	LateReport
	InMemory
	Purge
	WAL
	// Rows is what the last counting of the table found; null where nobody counts, and
	// before the first count.
	Rows *Rows `json:"rows"`
	Totals
	// Over the last RateWindowSeconds, fewer while the relay is younger.
	PublishedPerSecond float64 `json:"published_per_second"`
	RateWindowSeconds  float64 `json:"rate_window_seconds"`
}

// Identity is who answers.
type Identity struct {
	Version string `json:"version"`
	Table   string `json:"table"`
	Host    string `json:"host"`
	// Environment is OUTBOX_ENVIRONMENT. Database and SystemIdentifier are of the server
	// that the relay has reached last, empty while it has reached none.
	Environment      string    `json:"environment"`
	Database         string    `json:"database"`
	SystemIdentifier string    `json:"system_identifier"`
	StartedAt        time.Time `json:"started_at"`
	UptimeSeconds    float64   `json:"uptime_seconds"`
}

// Doing is what the relay is doing: connecting, standby, polling or tailing.
type Doing struct {
	Mode        string    `json:"mode"`
	Leader      bool      `json:"leader"`
	Since       time.Time `json:"since"`
	ModeSeconds float64   `json:"mode_seconds"`
	// Reason says why it is not in the mode that was asked for; empty if there is
	// nothing to say.
	Reason     string    `json:"reason"`
	WantedMode string    `json:"wanted_mode"`
	TurnedAt   time.Time `json:"turned_at"`
	Live       bool      `json:"live"`
	NotLive    string    `json:"not_live"` // why
	Ready      bool      `json:"ready"`
	NotReady   string    `json:"not_ready"` // why
}

// Origin says whether the table belongs where the relay is.
type Origin struct {
	// Foreign says why nothing of the table is published: it belongs to another
	// environment. Empty while that is not so.
	Foreign string `json:"foreign"`
	// OriginDoubt says that the table may be a copy, and is published nevertheless.
	OriginDoubt string `json:"origin_doubt"`
}

// Pause says that nothing new is published, by whose wish, and why.
type Pause struct {
	// PausedSince is null while the table is not paused.
	PausedSince *time.Time `json:"paused_since"`
	PausedBy    string     `json:"paused_by"`
	PauseReason string     `json:"pause_reason"`
}

// Stall says whether due rows make progress.
type Stall struct {
	// Why due rows have made no progress for long; StalledSince is null while they do.
	// StalledHere: the cause is on the relay's side, so it is not ready.
	Stalled        string     `json:"stalled"`
	StalledSince   *time.Time `json:"stalled_since"`
	StalledSeconds float64    `json:"stalled_seconds"`
	StalledHere    bool       `json:"stalled_here"`
}

// Broker says whether the broker takes messages.
type Broker struct {
	// The broker. SinkDownSince is null while it takes messages, and while nothing
	// has been tried.
	SinkDown      string     `json:"sink_down"`
	SinkDownSince *time.Time `json:"sink_down_since"`
}

// LateReport names the topics that come late.
type LateReport struct {
	// Topics of which few messages are tried at once, because they come late: how many,
	// and those for longest. Their rows wait in the table.
	LateTopics int         `json:"late_topics"`
	Late       []LateTopic `json:"late"`
}

// Unwritten is what the table does not take.
type Unwritten struct {
	// Why no row can be marked; TableDownSince is null while rows are.
	TableDown      string     `json:"table_down"`
	TableDownSince *time.Time `json:"table_down_since"`
	// Rows whose outcome PostgreSQL refuses to write, while it writes others: how many,
	// and the first ones.
	UnmarkableRows int             `json:"unmarkable_rows"`
	Unmarkable     []UnmarkableRow `json:"unmarkable"`
	// Rows that were published and are locked by other sessions; LockedSince is null if
	// there are none. LockedBy are some of those sessions, or of
	// those that have the whole table locked.
	LockedRows  int        `json:"locked_rows"`
	LockedSince *time.Time `json:"locked_since"`
	LockedBy    []Blocker  `json:"locked_by"`
}

// InMemory is what the relay has in memory.
type InMemory struct {
	InFlight int `json:"in_flight"`
	Waiting  int `json:"waiting"`
	HeldKeys int `json:"held_keys"`
}

// Purge says whether sent rows are deleted.
type Purge struct {
	// Why sent rows are not deleted, though they are to be; NotPurgedSince is null while
	// they are.
	NotPurged      string     `json:"not_purged"`
	NotPurgedSince *time.Time `json:"not_purged_since"`
}

// WAL is the write-ahead log, as far as the relay is concerned.
type WAL struct {
	// The log that the server keeps for the relay while it tails, and how much of that it
	// has not read.
	RetainedWAL int64 `json:"retained_wal_bytes"`
	UnreadWAL   int64 `json:"unread_wal_bytes"`
}

// Totals count since the relay was started.
type Totals struct {
	PublishedTotal     uint64 `json:"published_total"`
	DuplicateAcksTotal uint64 `json:"duplicate_acks_total"`
	RefusedTotal       uint64 `json:"refused_total"`
	DeadTotal          uint64 `json:"dead_total"`
	ExpiredTotal       uint64 `json:"expired_total"` // of these, those that had waited for the broker for too long
	ReconciledTotal    uint64 `json:"reconciled_total"`
	PurgedTotal        uint64 `json:"purged_total"`
}

// Rows is how many rows of which kind the table has.
type Rows struct {
	CountedAt        time.Time `json:"counted_at"`
	Pending          Count     `json:"pending"`
	Scheduled        Count     `json:"scheduled"`
	Retrying         Count     `json:"retrying"`
	Dead             Count     `json:"dead"`
	OldestPendingAge float64   `json:"oldest_pending_age_seconds"`
	// Lacks is what the table of an older version has not; empty if it has all.
	Lacks string `json:"lacks"`
	// Partitions is what a person has to do about the table's partitions; empty if nothing.
	Partitions string `json:"partitions"`
	// NotCounted says why the numbers are old; empty while they are not.
	NotCounted string `json:"not_counted"`
}

// Count is a number of rows. Estimated: they were not counted one by one. More: there may
// be many more.
type Count struct {
	Rows      int64 `json:"rows"`
	Estimated bool  `json:"estimated"`
	More      bool  `json:"more"`
}

// NewRows is a census as /status tells it; nil if nothing has been counted.
func NewRows(c relay.Census) *Rows {
	if c.At.IsZero() {
		return nil
	}
	r := &Rows{
		CountedAt: c.At, Pending: Count(c.Due), Scheduled: Count(c.Scheduled), Retrying: Count(c.Retrying), Dead: Count(c.Dead),
		OldestPendingAge: c.OldestAge.Seconds(), Lacks: c.Lacks, Partitions: c.Partitions,
	}
	if c.Err != nil {
		r.NotCounted = c.Err.Error()
	}
	return r
}

// UnmarkableRow is a row whose outcome cannot be written. It was published unless it
// was Refused by the broker.
type UnmarkableRow struct {
	ID        int64     `json:"id"`
	MessageID string    `json:"message_id"`
	Refused   bool      `json:"refused"`
	Since     time.Time `json:"since"`
	Tries     int       `json:"tries"`
	Error     string    `json:"error"`
}

// Blocker is a session that has rows locked, or a prepared transaction: then its PID
// is 0. It has the fields of [relay.Blocker].
type Blocker struct {
	PID         int    `json:"pid"`
	Application string `json:"application"`
	Prepared    string `json:"prepared"`
}

// LateTopic is a topic of which few messages are tried at once.
type LateTopic struct {
	Topic string    `json:"topic"`
	Since time.Time `json:"since"`
	Tried int       `json:"tried"` // how many are being tried
	Why   string    `json:"why"`
}

// report puts together what is known at one moment, and what the caller may know.
func (s *Server) report(c caller, now time.Time) Report {
	st := s.status(c)
	r := Report{
		Identity: Identity{
			Version: s.options.Version, Table: s.options.Table, Host: s.options.Host,
			StartedAt: s.started, UptimeSeconds: now.Sub(s.started).Seconds(),
			Environment: s.options.Environment, Database: st.Database, SystemIdentifier: st.System,
		},
		Doing: Doing{
			Mode: st.Mode.String(), Leader: st.Mode.Leads(), Since: st.Since, ModeSeconds: now.Sub(st.Since).Seconds(),
			Reason: st.Reason, WantedMode: s.options.WantedMode, TurnedAt: st.Turned,
			NotLive: s.notLive(st, now), NotReady: s.notReady(st, now),
		},
		Origin: Origin{Foreign: st.Foreign, OriginDoubt: st.Doubt},
		Pause:  Pause{PausedSince: known(st.Pause.Since), PausedBy: st.Pause.By, PauseReason: st.Pause.Reason},
		Stall:  Stall{Stalled: st.Stalled, StalledHere: st.StalledHere, StalledSince: known(st.StalledSince)},
		Broker: Broker{SinkDown: st.SinkDown, SinkDownSince: known(st.SinkDownSince)},
		Unwritten: Unwritten{
			TableDown: st.TableDown, TableDownSince: known(st.TableDownSince),
			UnmarkableRows: st.Unmarkable, Unmarkable: []UnmarkableRow{},
			LockedRows: st.Locked, LockedSince: known(st.LockedSince), LockedBy: []Blocker{},
		},
		LateReport: LateReport{LateTopics: st.LateTopics, Late: []LateTopic{}},
		InMemory:   InMemory{InFlight: st.InFlight, Waiting: st.Waiting, HeldKeys: st.HeldKeys},
		Purge:      Purge{NotPurged: st.NotPurged, NotPurgedSince: known(st.NotPurgedSince)},
		WAL:        WAL{RetainedWAL: st.RetainedWAL, UnreadWAL: st.UnreadWAL},
		Totals:     totals(st),
	}
	r.Rows = NewRows(s.census(c))
	r.Live, r.Ready = r.NotLive == "", r.NotReady == ""
	if r.StalledSince != nil {
		r.StalledSeconds = now.Sub(*r.StalledSince).Seconds()
	}
	for _, row := range st.UnmarkableRows {
		r.Unmarkable = append(r.Unmarkable, UnmarkableRow{
			ID: row.ID, MessageID: row.MessageID.String(), Refused: row.Refused, Since: row.Since, Tries: row.Tries, Error: row.Error,
		})
	}
	for _, by := range st.LockedBy {
		r.LockedBy = append(r.LockedBy, Blocker(by))
	}
	for _, topic := range st.LateTopicsTold {
		r.Late = append(r.Late, LateTopic{Topic: topic.Topic, Since: topic.Since, Tried: topic.Tried, Why: topic.Why})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meter.add(now, st.Published)
	r.PublishedPerSecond, r.RateWindowSeconds = s.meter.rate()
	return r
}

func totals(st relay.Status) Totals {
	return Totals{
		PublishedTotal: st.Published, DuplicateAcksTotal: st.DuplicateAcks, RefusedTotal: st.Refused,
		DeadTotal: st.Dead, ExpiredTotal: st.Expired, ReconciledTotal: st.Reconciled, PurgedTotal: st.Purged,
	}
}

// known is nil for the zero time.
func known(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

// hangs is after how long without a turn the loop is taken to hang. A leader's loop
// turns at least once a second. A healthy relay takes longest when it tries every host
// of OUTBOX_DATABASE_URL, for ten seconds each, and pauses.
const hangs = time.Minute

// notLive says why a restart may help, or nothing.
func (s *Server) notLive(st relay.Status, now time.Time) string {
	turned := st.Turned
	if turned.Before(s.started) { // not yet
		turned = s.started
	}
	if silent := now.Sub(turned); silent > hangs {
		return "the relay hangs: " + st.Mode.String() + ", and no turn of its loop for " + brief(silent)
	}
	return ""
}

// activity says in a word or two what the relay does.
func activity(st relay.Status) string {
	if st.Pause.On() {
		return st.Mode.String() + ", paused"
	}
	return st.Mode.String()
}

// notReady says why the relay is not ready, or nothing.
func (s *Server) notReady(st relay.Status, now time.Time) string {
	if why := s.notLive(st, now); why != "" {
		return why
	}
	switch {
	case st.Foreign != "":
		return because("nothing is published", st.Foreign)
	case st.Mode == relay.Connecting:
		return because("no session with the database for "+brief(now.Sub(st.Since)), st.Reason)
	case st.NoRelayLeads:
		return because("no relay leads", st.Reason)
	case st.StalledHere:
		return because("no progress for "+brief(now.Sub(st.StalledSince)), st.Stalled)
	case st.Mode == relay.Polling && s.options.NeedsTail && !st.Pause.On():
		return because("the leader has to poll, and OUTBOX_MODE is replication", st.Reason)
	}
	return ""
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}

func brief(d time.Duration) string { return d.Round(time.Second).String() }
