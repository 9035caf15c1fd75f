package pagetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// mark stands before each text, so that it is found wherever it has got to.
const mark = "zq7"

// columns are what rows, brokers, databases and their users write, and the page shows.
var columns = []string{
	"topic", "key", "error", "type", "content type", "headers", "payload", "group", "group type", // of dead rows
	"held key", "late topic", "late why", "unmarkable", "relay", "application", "prepared",
	"sink", "table down", "stalled", "paused", "doubt", "purge", "census", "table", "host", "version",
}

// hostileTexts has the same text in each column, after the column's name.
type hostileTexts string

func (h hostileTexts) of(column string) string { return mark + column + ":" + string(h) }

func (h hostileTexts) status() relay.Status {
	now := time.Now()
	return relay.Status{
		Mode: relay.Polling, Since: now, Turned: now,
		NoteStatus:  relay.NoteStatus{Note: relay.Note{Doubt: h.of("doubt"), Pause: relay.Pause{Since: now, By: "ann", Reason: h.of("paused")}}},
		SinkStatus:  relay.SinkStatus{LateTopics: 1, LateTopicsTold: []relay.LateTopic{{Topic: h.of("late topic"), Since: now, Why: h.of("late why")}}},
		StallStatus: relay.StallStatus{Stalled: h.of("stalled"), StalledSince: now},
		TableStatus: relay.TableStatus{
			Unmarkable: 1, UnmarkableRows: []relay.UnmarkableRow{{Since: now, Error: h.of("unmarkable")}},
			Locked: 2, LockedSince: now, LockedBy: []relay.Blocker{{PID: 1, Application: h.of("application")}, {Prepared: h.of("prepared")}},
		},
		PurgeStatus: relay.PurgeStatus{NotPurged: h.of("purge"), NotPurgedSince: now},
		LoadStatus:  relay.LoadStatus{HeldKeys: 1, HeldKeysTold: []string{h.of("held key")}},
	}
}

// states are that status, and the same with both breakers open, which hide a stall.
func (h hostileTexts) states() []relay.Status {
	st := h.status()
	st.SinkDown, st.SinkDownSince = h.of("sink"), st.Since
	st.TableDown, st.TableDownSince = h.of("table down"), st.Since
	return []relay.Status{h.status(), st}
}

func (h hostileTexts) census() relay.Census {
	return relay.Census{
		At: time.Now(), TableStats: relay.TableStats{Dead: relay.Count{Rows: 1}}, Err: errors.New(h.of("census")), FailingSince: time.Now(),
		Members: []relay.Member{{Name: h.of("relay"), Leads: true, Relay: true}},
	}
}

// These are the dead rows; what is asked of them is answered with the texts.

func (h hostileTexts) row() relay.DeadRow {
	key := h.of("key")
	return relay.DeadRow{Ref: relay.Ref{ID: 1}, Topic: h.of("topic"), Key: &key, ErrorType: h.of("type"), LastError: h.of("error"), DeadAt: time.Now()}
}

func (h hostileTexts) List(context.Context, relay.DeadPage) ([]relay.DeadRow, int64, bool, error) {
	return []relay.DeadRow{h.row()}, 1, true, nil
}

func (h hostileTexts) Summarise(context.Context, relay.DeadPage) ([]relay.DeadGroup, int64, bool, error) {
	return []relay.DeadGroup{{Topic: h.of("group"), ErrorType: h.of("group type"), Rows: 1}}, 1, true, nil
}

func (h hostileTexts) Show(context.Context, []int64) ([]relay.WholeRow, error) {
	return []relay.WholeRow{{DeadRow: h.row(), ContentType: h.of("content type"), Headers: []byte(h.of("headers")), Payload: []byte(h.of("payload"))}}, nil
}

func (h hostileTexts) Replay(context.Context, relay.DeadPage) (relay.DeadDone, error) {
	return relay.DeadDone{}, errors.New("nothing is replayed here")
}

func (h hostileTexts) Discard(ctx context.Context, p relay.DeadPage) (relay.DeadDone, error) {
	return h.Replay(ctx, p)
}
func (h hostileTexts) Now() time.Time { return time.Now() }
func (h hostileTexts) Close()         {}

// answers are what the relay's own server answers to the page.
func (h hostileTexts) answers(t testing.TB, status relay.Status) map[string]string {
	t.Helper()
	s, err := admin.Listen(t.Context(), "127.0.0.1:0", admin.Options{
		Status: func() relay.Status { return status }, Census: h.census, Token: func() (string, error) { return token, nil },
		OpenDead: func(context.Context, relay.DeadAccess) (admin.DeadLetters, error) { return h, nil },
		Table:    h.of("table"), Host: h.of("host"), Version: h.of("version"), Broker: "NATS",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(context.WithoutCancel(t.Context())) }()
	all := make(map[string]string)
	for path, method := range map[string]string{
		"/api/snapshot": "GET", "/api/dead": "GET", "/api/dead/row?id=1": "GET", "/api/dead/preview": "POST", "/api/dead/progress": "GET",
	} {
		name, _, _ := strings.Cut(path, "?")
		all[name] = askJSON(t, s.Address(), method, path)
	}
	return all
}

// askJSON demands an answer that no browser takes for a page.
func askJSON(t testing.TB, address, method, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/json" || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%s: %d %v %v: %s", path, answer.StatusCode, answer.Header, err, text)
	}
	return string(text)
}

// shown is what the page has made of the answers; see render.mjs.
type shown struct {
	Kinds, Values, Trouble []string
	Text                   string
}

// renderer is Node with the page's modules, one for all inputs.
type renderer struct {
	once sync.Once
	in   io.Writer
	out  *bufio.Reader
	err  error
}

func (r *renderer) show(t testing.TB, answers map[string]string) (s shown) {
	t.Helper()
	r.once.Do(func() {
		node := exec.Command("node", "render.mjs") // ends with its input, and so with this process
		r.in, r.err = node.StdinPipe()
		out, err := node.StdoutPipe()
		r.out, r.err = bufio.NewReaderSize(out, 1<<20), errors.Join(r.err, err, node.Start())
	})
	if r.err != nil {
		t.Fatalf("%v: make page-test installs what it needs", r.err)
	}
	line, err := json.Marshal(answers)
	if err == nil {
		_, err = r.in.Write(append(line, '\n'))
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatalf("the page cannot be shown: %v", err)
	}
	return s
}

// FuzzTextOfRowsIsShownAsText has the page show any text in every column. No element, no
// attribute and no value of one may come of it that plain text does not make, and it has to
// be there as text. A real browser does the same with fixed texts
// (TestHostileTextIsShownAsText).
func FuzzTextOfRowsIsShownAsText(f *testing.F) {
	for _, seed := range []string{
		"", "plain", hostile, "<img src=x onerror=x()>", "</title><script>x()</script>", "<!--", "]]>", "&lt;b&gt;&#60;", "javascript:x()", "\x00\x1b[31m\r\n",
		"\xff\xfe", "\u2028\u2029\u202e", `" onmouseover="x()`, "' autofocus onfocus=x() '", "__proto__", "${x}{{x}}", "<svg><style><img src=x onerror=x()>", strings.Repeat("<b>", 200),
	} {
		f.Add(seed)
	}
	// Node starts before the first input, for which there would be ten seconds.
	var page renderer
	var plain []shown
	quiet := hostileTexts("plain")
	for _, status := range quiet.states() {
		plain = append(plain, page.show(f, quiet.answers(f, status)))
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := hostileTexts(text)
		for i, status := range h.states() {
			got := page.show(t, h.answers(t, status))
			for _, kind := range got.Kinds {
				if !slices.Contains(plain[i].Kinds, kind) {
					t.Errorf("%q has made <%s>", text, kind)
				}
			}
			for _, value := range got.Values {
				if strings.Contains(value, mark) {
					t.Errorf("%q stands in an attribute: %s", text, value)
				}
			}
			if len(got.Trouble) > 0 {
				t.Errorf("%q: the page cannot show it: %q", text, got.Trouble)
			}
			h.checkText(t, i == 1, got.Text)
		}
	})
}

// checkText looks for each column's text, as far as the page shows it.
func (h hostileTexts) checkText(t *testing.T, broken bool, text string) {
	t.Helper()
	for _, column := range columns {
		hidden := column == "stalled" && broken || (column == "sink" || column == "table down") && !broken
		binary := (column == "payload" || column == "headers") && !utf8.ValidString(string(h))
		if hidden || binary {
			continue
		}
		// As JSON has it: each byte that is no character is U+FFFD.
		runes := []rune(h.of(column))
		want := string(runes[:min(len(runes), 60)])
		if !strings.Contains(text, want) && !strings.Contains(text, relay.OneLine(want)) {
			t.Errorf("%s is not shown: %q", column, want)
		}
	}
}
