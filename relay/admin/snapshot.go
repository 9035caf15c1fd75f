package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// snapshot is all that the page shows but dead rows. It has no number that changes while
// nothing happens, such as an age of the healthy: then its ETag stays, and the page is told
// that nothing is new. Ids are text, since JavaScript's numbers lose digits of a bigint.
type snapshot struct {
	Version   string    `json:"version"`
	Table     string    `json:"table"`
	Host      string    `json:"host"`
	Broker    string    `json:"broker"`
	StartedAt time.Time `json:"started_at"`
	Access    grants    `json:"access"`

	Mode  string    `json:"mode"`
	Since time.Time `json:"since"`
	// State is what the relay does, Troubles what is wrong, the worst first. Level is the
	// worst one's.
	State    string    `json:"state"`
	Level    level     `json:"level"`
	Troubles []trouble `json:"troubles"`

	PerSecond number   `json:"per_second"`
	Rows      *Rows    `json:"rows"`
	Load      InMemory `json:"load"`
	Totals    Totals   `json:"totals"`

	Relays     []member    `json:"relays"` // null while they have not been looked up
	RelaysWhy  string      `json:"relays_error"`
	HeldKeys   []string    `json:"held_keys"`
	Late       []LateTopic `json:"late"`
	LateMore   int         `json:"late_more"`
	Unmarkable []stuckRow  `json:"unmarkable"`
	StuckMore  int         `json:"unmarkable_more"`
	LockedBy   []Blocker   `json:"locked_by"`
	History    series      `json:"history"`
}

// grants is what this caller may do.
type grants struct {
	Details  bool `json:"details"`   // sees keys, errors and dead rows
	Change   bool `json:"change"`    // may change something, and see payloads
	TokenSet bool `json:"token_set"` // a token would help
}

type member struct {
	Name  string `json:"name"`
	PID   int64  `json:"pid"`
	Leads bool   `json:"leads"`
	Relay bool   `json:"relay"`
}

// stuckRow is a row that cannot be marked.
type stuckRow struct {
	ID      string    `json:"id"`
	Refused bool      `json:"refused"`
	Since   time.Time `json:"since"`
	Tries   int       `json:"tries"`
	Error   string    `json:"error"`
}

// maxTold bounds a text of a row in the snapshot, in characters.
const maxTold = 300

func told(text string) string {
	if runes := []rune(text); len(runes) > maxTold {
		return string(runes[:maxTold]) + "…"
	}
	return text
}

func (s *Server) snapshot(c caller, now time.Time) snapshot {
	st, census := s.status(c), s.census(c)
	perSecond := s.history.recent()
	what := scene{now: now, broker: s.broker(), status: st, census: census, perSecond: perSecond, notLive: s.notLive(st, now)}
	shot := snapshot{
		Version: s.options.Version, Table: s.options.Table, Host: s.options.Host, Broker: s.broker(), StartedAt: s.started,
		Access: grants{Details: c.trusted(), Change: c.bearer, TokenSet: s.options.Token != nil},
		Mode:   st.Mode.String(), Since: st.Since, State: what.state(), Level: levelGood, Troubles: what.troubles(),
		PerSecond: number(perSecond), Rows: NewRows(census),
		Load:   InMemory{InFlight: st.InFlight, Waiting: st.Waiting, HeldKeys: st.HeldKeys},
		Totals: totals(st),

		HeldKeys: []string{}, Late: []LateTopic{}, LateMore: st.LateTopics - len(st.LateTopicsTold),
		Unmarkable: []stuckRow{}, StuckMore: st.Unmarkable - len(st.UnmarkableRows), LockedBy: []Blocker{}, History: s.history.series(),
	}
	if len(shot.Troubles) > 0 {
		shot.Level = shot.Troubles[0].Level
	}
	shot.addRelays(census)
	shot.addRows(st)
	return shot
}

func (s *Server) broker() string {
	if s.options.Broker == "" {
		return "The broker"
	}
	return s.options.Broker
}

func (shot *snapshot) addRelays(c relay.Census) {
	if c.MembersErr != nil {
		shot.RelaysWhy = hidden
		if shot.Access.Details {
			shot.RelaysWhy = c.MembersErr.Error()
		}
	}
	for _, m := range c.Members {
		shot.Relays = append(shot.Relays, member{Name: told(m.Name), PID: m.PID, Leads: m.Leads, Relay: m.Relay})
	}
	if c.Members != nil && shot.Relays == nil {
		shot.Relays = []member{}
	}
}

func (shot *snapshot) addRows(st relay.Status) {
	for _, key := range st.HeldKeysTold {
		shot.HeldKeys = append(shot.HeldKeys, told(key))
	}
	for _, t := range st.LateTopicsTold {
		shot.Late = append(shot.Late, LateTopic{Topic: told(t.Topic), Since: t.Since, Tried: t.Tried, Why: told(t.Why)})
	}
	for _, r := range st.UnmarkableRows {
		shot.Unmarkable = append(shot.Unmarkable, stuckRow{
			ID: strconv.FormatInt(r.ID, 10), Refused: r.Refused, Since: r.Since, Tries: r.Tries, Error: told(r.Error),
		})
	}
	for _, by := range st.LockedBy {
		shot.LockedBy = append(shot.LockedBy, Blocker(by))
	}
}

// cachedFor is how long a snapshot is served: however many pages are open, one is made.
const cachedFor = time.Second

// snapshots are the last ones, for callers who may see all, change something, or neither.
type snapshots struct {
	mu   sync.Mutex
	last [4]cachedSnapshot
}

type cachedSnapshot struct {
	at   time.Time
	text []byte
	etag string
}

// get is the caller's, made anew if it is old.
func (s *snapshots) get(c caller, now time.Time, fresh func() snapshot) (cachedSnapshot, error) {
	place := 0
	if c.trusted() {
		place |= 1
	}
	if c.bearer {
		place |= 2
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := &s.last[place]; last.text == nil || now.Sub(last.at) >= cachedFor {
		text, err := json.Marshal(fresh())
		if err != nil {
			return cachedSnapshot{}, err
		}
		sum := sha256.Sum256(text)
		*last = cachedSnapshot{at: now, text: text, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
	}
	return s.last[place], nil
}

func (s *Server) serveSnapshot(w http.ResponseWriter, r *http.Request, c caller) {
	if s.options.Watch != nil {
		s.options.Watch()
	}
	now := time.Now()
	shot, err := s.snapshots.get(c, now, func() snapshot { return s.snapshot(c, now) })
	if err != nil { // a snapshot always can be written as JSON
		answer(w, http.StatusInternalServerError, plainText, err.Error())
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Authorization")
	h.Set("ETag", shot.etag)
	if r.Header.Get("If-None-Match") == shot.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	_, _ = w.Write(shot.text) // the peer may have gone
}
