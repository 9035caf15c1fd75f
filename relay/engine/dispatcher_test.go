package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// model is the dispatcher told in the dumbest way: one list of messages in
// order of arrival, each with a state, searched from the front every time.
type model struct {
	limits
	messages []*modelMessage
}

type modelMessage struct {
	*item
	state modelState
	alone bool // published as a suspect
}

type modelState uint8

const (
	modelQueued    modelState = iota
	modelPublished            // with the sink
	modelEnded                // the key goes on, or has returned to the table; still in the window
)

func (m *model) ofKey(key string) []*modelMessage {
	var of []*modelMessage
	for _, mm := range m.messages {
		if mm.Keyed && mm.Key == key && mm.state != modelEnded {
			of = append(of, mm)
		}
	}
	return of
}

// mayGo says whether the rules allow the message to be published now.
func (m *model) mayGo(mm *modelMessage, suspect func(relay.Ref) bool) bool {
	if mm.state != modelQueued {
		return false
	}
	rows, bytes, unreported := 0, int64(0), 0
	for _, other := range m.messages {
		if other.state == modelQueued {
			continue
		}
		rows++
		if other.state == modelPublished {
			unreported++
			bytes += other.Size
			if other.alone {
				return false
			}
		}
	}
	fits := rows < m.window && (unreported == 0 || bytes+mm.Size <= m.windowBytes)
	first := !mm.Keyed || m.ofKey(mm.Key)[0] == mm
	return fits && first && (!suspect(mm.Ref) || unreported == 0)
}

func (m *model) find(msg *item) *modelMessage {
	i := slices.IndexFunc(m.messages, func(mm *modelMessage) bool { return mm.item == msg })
	return m.messages[i]
}

func (m *model) remove(gone func(*modelMessage) bool) {
	m.messages = slices.DeleteFunc(m.messages, gone)
}

// replay runs the operations that the bytes stand for against the dispatcher
// and the model, and compares them after each.
func replay(t *testing.T, script []byte) {
	t.Helper()
	l := limits{window: 5, windowBytes: 2000, chain: 4}
	d := newDispatcher(l, OrderByKey)
	m := &model{limits: l}
	suspect := func(r relay.Ref) bool { return r.ID%7 == 0 }
	pick := func(state modelState, n byte) *modelMessage {
		var of []*modelMessage
		for _, mm := range m.messages {
			if mm.state == state {
				of = append(of, mm)
			}
		}
		if len(of) == 0 {
			return nil
		}
		return of[int(n)%len(of)]
	}
	var id int64
	for i := 0; i+1 < len(script); i += 2 {
		op, arg := script[i]%8, script[i+1]
		switch op {
		case 0, 1: // a row comes in
			id++
			msg := &item{Message: &relay.Message{Ref: relay.Ref{ID: id}, Size: int64(arg) * 10}}
			if arg%4 != 0 {
				msg.Keyed, msg.Key = true, fmt.Sprint(arg%4)
			}
			full := msg.Keyed && len(m.ofKey(msg.Key)) >= l.chain
			if got := d.add(msg); got == full {
				t.Fatalf("step %d: add(key %q) = %v with %d of the key in memory", i, msg.Key, got, len(m.ofKey(msg.Key)))
			}
			if !full {
				m.messages = append(m.messages, &modelMessage{item: msg})
			}
		case 2, 3:
			checkNext(t, i, d, m, suspect)
		case 4: // an acknowledgement
			if mm := pick(modelPublished, arg); mm != nil {
				mm.state = modelEnded
				d.reported(mm.item)
				d.release(mm.item)
			}
		case 5: // a refusal: the followers go back
			if mm := pick(modelPublished, arg); mm != nil {
				mm.state = modelEnded
				d.reported(mm.item)
				returned := d.returnFollowers(mm.item)
				want := 0
				m.remove(func(o *modelMessage) bool {
					returns := mm.Keyed && o.Keyed && o.Key == mm.Key && o.state == modelQueued
					if returns {
						want++
					}
					return returns
				})
				if len(returned) != want {
					t.Fatalf("step %d: returnFollowers returned %d messages, want %d", i, len(returned), want)
				}
			}
		case 6: // a commit
			if mm := pick(modelEnded, arg); mm != nil {
				d.committed()
				m.remove(func(o *modelMessage) bool { return o == mm })
			}
		case 7: // the queue returns to the table, now and then
			if arg%8 != 0 {
				continue
			}
			returned := d.returnQueued()
			want := len(m.messages)
			m.remove(func(o *modelMessage) bool { return o.state == modelQueued })
			if want -= len(m.messages); len(returned) != want {
				t.Fatalf("step %d: returnQueued returned %d messages, want %d", i, len(returned), want)
			}
		}
		checkTallies(t, i, d, m)
	}
}

// checkNext takes a message if there is one and asks the model whether that was
// right; if there is none, whether that was.
func checkNext(t *testing.T, step int, d *dispatcher, m *model, suspect func(relay.Ref) bool) {
	t.Helper()
	msg := d.next(suspect)
	if msg == nil {
		if d.ready.len == 0 {
			for _, mm := range m.messages {
				if m.mayGo(mm, suspect) {
					t.Fatalf("step %d: next gave nothing, but row %d may go", step, mm.ID)
				}
			}
		} else if head := m.find(d.ready.peek()); m.mayGo(head, suspect) {
			t.Fatalf("step %d: next gave nothing, but row %d is first in the queue and may go", step, head.ID)
		}
		return
	}
	mm := m.find(msg)
	if !m.mayGo(mm, suspect) {
		t.Fatalf("step %d: next gave row %d, which may not go", step, msg.ID)
	}
	mm.state, mm.alone = modelPublished, suspect(msg.Ref)
}

func checkTallies(t *testing.T, step int, d *dispatcher, m *model) {
	t.Helper()
	var queued, unreported tally
	uncommitted := 0
	for _, mm := range m.messages {
		switch mm.state {
		case modelQueued:
			queued.add(mm.item)
			continue
		case modelPublished:
			unreported.add(mm.item)
		case modelEnded:
		}
		uncommitted++
	}
	if d.queued != queued || d.unreported != unreported || d.uncommitted != uncommitted {
		t.Fatalf("step %d: dispatcher counts queued %v, unreported %v, uncommitted %d; model %v, %v, %d",
			step, d.queued, d.unreported, d.uncommitted, queued, unreported, uncommitted)
	}
	if !d.valid() {
		t.Fatalf("step %d: the dispatcher is not valid", step)
	}
}

func randomScript(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	script := make([]byte, n)
	for i := range script {
		script[i] = byte(r.UintN(256))
	}
	return script
}

func TestDispatcherAgreesWithModel(t *testing.T) {
	for seed := range uint64(300) {
		replay(t, randomScript(seed, 2000))
	}
}

func FuzzDispatcher(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(randomScript(seed, 400))
	}
	f.Fuzz(func(t *testing.T, script []byte) { replay(t, script) })
}

func nobody(relay.Ref) bool { return false }

func keyed(id int64, key string) *item {
	return &item{Message: &relay.Message{Ref: relay.Ref{ID: id}, Key: key, Keyed: true, Size: 1}}
}

func TestHotKeyStarvesNobody(t *testing.T) {
	d := newDispatcher(limits{window: 100, windowBytes: 1 << 20, chain: 64}, OrderByKey)
	for id := range int64(64) {
		d.add(keyed(id, "hot"))
	}
	for id := range int64(10) {
		d.add(keyed(1000+id, fmt.Sprint("cold", id)))
	}
	var order []int64
	for m := d.next(nobody); m != nil; m = d.next(nobody) {
		order = append(order, m.ID)
	}
	if len(order) != 11 || order[0] != 0 {
		t.Fatalf("published %v, want one row of the hot key and all ten others", order)
	}
}

func TestOrderNonePublishesAKeyAllAtOnce(t *testing.T) {
	d := newDispatcher(limits{window: 100, windowBytes: 1 << 20, chain: 2}, OrderNone)
	for id := range int64(10) {
		if !d.add(keyed(id, "k")) {
			t.Fatalf("row %d refused: the chain's cap is for ordered keys", id)
		}
	}
	for id := range int64(10) {
		if m := d.next(nobody); m == nil || m.ID != id {
			t.Fatalf("next = %v, want row %d", m, id)
		}
	}
}

func TestMessageLargerThanTheWindowGoesAlone(t *testing.T) {
	d := newDispatcher(limits{window: 10, windowBytes: 100, chain: 4}, OrderByKey)
	small, large := &item{Message: &relay.Message{Ref: relay.Ref{ID: 1}, Size: 10}}, &item{Message: &relay.Message{Ref: relay.Ref{ID: 2}, Size: 1000}}
	d.add(small)
	d.add(large)
	if d.next(nobody) != small {
		t.Fatal("the small message does not go")
	}
	if d.next(nobody) != nil {
		t.Fatal("the large message goes beside another")
	}
	d.reported(small)
	d.release(small)
	if d.next(nobody) != large {
		t.Fatal("the large message waits for a mark, which somebody's lock may hold up for long")
	}
}

// A row counts against the window until its outcome is committed (rule 2):
// otherwise a marker that hangs lets acknowledged rows pile up without bound.
func TestWindowClosesUntilTheOutcomeIsCommitted(t *testing.T) {
	d := newDispatcher(limits{window: 1, windowBytes: 100, chain: 4}, OrderByKey)
	a, b := keyed(1, "a"), keyed(2, "b")
	d.add(a)
	d.add(b)
	d.next(nobody)
	d.reported(a)
	d.release(a)
	if d.next(nobody) != nil {
		t.Fatal("acknowledged but not committed, and the next row goes")
	}
	d.committed()
	if d.next(nobody) != b {
		t.Fatal("committed, and the next row does not go")
	}
}
