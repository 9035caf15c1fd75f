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
	span     map[string][]*modelMessage // of each key, what was published while one was with the sink
	failed   map[string]bool            // keys of which a message has failed, and others are with the sink
}

type modelMessage struct {
	*item
	state modelState
	alone bool       // published as a suspect
	in    relay.Lane // that it was published in
}

type modelState uint8

const (
	modelQueued    modelState = iota
	modelPublished            // with the sink
	modelWithdrawn            // the sink has given it back, and others of its key are with it
	modelEnded                // the key goes on, or has returned to the table; still in the window
)

func (m *model) ofKey(key string, states ...modelState) []*modelMessage {
	var of []*modelMessage
	for _, mm := range m.messages {
		if mm.Keyed && mm.Key == key && slices.Contains(states, mm.state) {
			of = append(of, mm)
		}
	}
	return of
}

// inMemory are the messages that the chain's cap counts.
func (m *model) inMemory(key string) []*modelMessage {
	return m.ofKey(key, modelQueued, modelPublished, modelWithdrawn)
}

// mayGo says whether the rules allow the message to be published now, in the lane given.
func (m *model) mayGo(mm *modelMessage, suspect func(relay.Ref) bool, l relay.Lane) bool {
	if mm.state != modelQueued {
		return false
	}
	rows, bytes, unreported := 0, int64(0), 0
	for _, other := range m.messages {
		if other.state == modelQueued || other.state == modelWithdrawn {
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
	return fits && (!mm.Keyed || m.mayJoin(mm, l)) && (!suspect(mm.Ref) || unreported == 0)
}

// mayJoin says whether the order of its key lets the message go.
func (m *model) mayJoin(mm *modelMessage, l relay.Lane) bool {
	with := m.ofKey(mm.Key, modelPublished)
	if m.failed[mm.Key] || m.ofKey(mm.Key, modelQueued)[0] != mm || len(m.ofKey(mm.Key, modelWithdrawn)) > 0 {
		return false
	}
	for _, other := range with {
		if l.Number == 0 || other.in != l {
			return false
		}
	}
	span := m.span[mm.Key]
	oldest := slices.IndexFunc(span, func(o *modelMessage) bool { return o.state == modelPublished })
	return len(with) == 0 || l.Strict || len(span)-oldest < m.keyWindow
}

// settle notes that a message of the key was reported: what was withdrawn waits again
// once none is with the sink.
func (m *model) settle(mm *modelMessage) {
	if !mm.Keyed || len(m.ofKey(mm.Key, modelPublished)) > 0 {
		return
	}
	delete(m.failed, mm.Key)
	delete(m.span, mm.Key)
	for _, other := range m.ofKey(mm.Key, modelWithdrawn) {
		other.state = modelQueued
	}
}

func (m *model) find(msg *item) *modelMessage {
	i := slices.IndexFunc(m.messages, func(mm *modelMessage) bool { return mm.item == msg })
	return m.messages[i]
}

func (m *model) remove(gone func(*modelMessage) bool) {
	m.messages = slices.DeleteFunc(m.messages, gone)
}

// replayer runs the same operations on a dispatcher and its model.
type replayer struct {
	*testing.T
	d    *dispatcher
	m    *model
	step int
	id   int64
	// lanes are those of the sink now; a message is of one of them, and of none in a row
	// that the dispatcher does not ask about.
	lanes [3]relay.Lane
	last  uint64 // number of a lane
}

func suspicious(r relay.Ref) bool { return r.ID%7 == 0 }

// laneOf: the second of the three lanes is not strict, and some messages have none.
func (r *replayer) laneOf(m *relay.Message) relay.Lane {
	if m.ID%11 == 0 {
		return relay.Lane{}
	}
	return r.lanes[m.ID/4%3]
}

// joins is the lane in which the dispatcher may publish a message.
func (r *replayer) joins(m *modelMessage) relay.Lane {
	if suspicious(m.Ref) || m.Defect != nil {
		return relay.Lane{}
	}
	return r.laneOf(m.Message)
}

func (r *replayer) endLane(i byte) {
	r.last++
	r.lanes[int(i)%3] = relay.Lane{Number: r.last, Strict: i%3 != 1}
}

// pick is one of the messages in that state; nil where there are none.
func (r *replayer) pick(state modelState, n byte) *modelMessage {
	var of []*modelMessage
	for _, mm := range r.m.messages {
		if mm.state == state {
			of = append(of, mm)
		}
	}
	if len(of) == 0 {
		return nil
	}
	return of[int(n)%len(of)]
}

// replay runs the operations that the bytes stand for against the dispatcher
// and the model, and compares them after each.
func replay(t *testing.T, script []byte) {
	t.Helper()
	l := limits{window: 7, windowBytes: 2000, chain: 5, keyWindow: 2}
	r := &replayer{T: t, d: newDispatcher(l, OrderByKey), m: &model{limits: l, failed: map[string]bool{}, span: map[string][]*modelMessage{}}}
	for i := range byte(3) {
		r.endLane(i)
	}
	for i := 0; i+1 < len(script); i += 2 {
		r.step = i
		r.run(script[i]%11, script[i+1])
		checkTallies(t, i, r.d, r.m)
	}
}

func (r *replayer) run(op, arg byte) {
	d, m := r.d, r.m
	switch op {
	case 0, 1, 2:
		r.add(arg)
	case 3, 4, 5:
		r.next()
	case 6: // an acknowledgement
		if mm := r.pick(modelPublished, arg); mm != nil {
			mm.state = modelEnded
			d.reported(mm.item)
			d.release(mm.item)
			m.settle(mm)
		}
	case 7: // withdrawn
		if mm := r.pick(modelPublished, arg); mm != nil && !m.failed[mm.Key] {
			mm.state, mm.alone = modelWithdrawn, false
			d.withdraw(mm.item)
			m.settle(mm)
			if !mm.Keyed {
				mm.state = modelQueued
			}
		}
	case 8:
		r.fail(arg)
	case 9: // a commit, or a lane ends
		if arg%4 == 0 {
			r.endLane(arg / 4)
		} else if mm := r.pick(modelEnded, arg); mm != nil {
			d.committed()
			m.remove(func(o *modelMessage) bool { return o == mm })
		}
	case 10: // what is not with the sink returns to the table, now and then
		if arg%8 == 0 {
			returned, want := d.returnQueued(), len(m.messages)
			m.remove(func(o *modelMessage) bool { return o.state == modelQueued || o.state == modelWithdrawn })
			if want -= len(m.messages); len(returned) != want {
				r.Fatalf("step %d: returnQueued returned %d messages, want %d", r.step, len(returned), want)
			}
		}
	}
}

// add brings a row in.
func (r *replayer) add(arg byte) {
	r.id++
	msg := &item{Message: &relay.Message{Ref: relay.Ref{ID: r.id}, Size: int64(arg) * 10}}
	if arg%4 != 0 {
		msg.Keyed, msg.Key = true, fmt.Sprint(arg%4)
	}
	full := msg.Keyed && (r.m.failed[msg.Key] || len(r.m.inMemory(msg.Key)) >= r.m.chain)
	if got := r.d.add(msg); got == full {
		r.Fatalf("step %d: add(key %q) = %v with %d of the key in memory", r.step, msg.Key, got, len(r.m.inMemory(msg.Key)))
	}
	if !full {
		r.m.messages = append(r.m.messages, &modelMessage{item: msg})
	}
}

// fail refuses a message: those that are not with the sink go back.
func (r *replayer) fail(arg byte) {
	mm := r.pick(modelPublished, arg)
	if mm == nil {
		return
	}
	mm.state = modelEnded
	r.d.reported(mm.item)
	returned, want := r.d.fail(mm.item), 0
	r.m.remove(func(o *modelMessage) bool {
		returns := mm.Keyed && o.Keyed && o.Key == mm.Key && (o.state == modelQueued || o.state == modelWithdrawn)
		if returns {
			want++
		}
		return returns
	})
	if len(returned) != want {
		r.Fatalf("step %d: fail returned %d messages, want %d", r.step, len(returned), want)
	}
	if mm.Keyed {
		r.m.failed[mm.Key] = true
		r.m.settle(mm)
	}
}

// next takes a message if there is one and asks the model whether that was
// right; if there is none, whether that was.
func (r *replayer) next() {
	msg := r.d.next(suspicious, r.laneOf)
	if msg != nil {
		mm := r.m.find(msg)
		l := r.joins(mm)
		if !r.m.mayGo(mm, suspicious, l) || mm.Keyed && msg.lane != l {
			r.Fatalf("step %d: next gave row %d in lane %v, which may not go", r.step, msg.ID, msg.lane)
		}
		mm.state, mm.alone, mm.in = modelPublished, suspicious(msg.Ref), l
		r.m.span[mm.Key] = append(r.m.span[mm.Key], mm)
		return
	}
	head := r.d.front()
	for _, mm := range r.m.messages {
		if (head == nil || head == mm.item) && r.m.mayGo(mm, suspicious, r.joins(mm)) {
			r.Fatalf("step %d: next gave nothing, but row %d may go", r.step, mm.ID)
		}
	}
}

func checkTallies(t *testing.T, step int, d *dispatcher, m *model) {
	t.Helper()
	var queued, unreported tally
	uncommitted := 0
	for _, mm := range m.messages {
		switch mm.state {
		case modelQueued, modelWithdrawn:
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

func noLane(*relay.Message) relay.Lane { return relay.Lane{} }

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
	for m := d.next(nobody, noLane); m != nil; m = d.next(nobody, noLane) {
		order = append(order, m.ID)
	}
	if len(order) != 11 || order[0] != 0 {
		t.Fatalf("published %v, want one row of the hot key and all ten others", order)
	}
}

// A key whose rows all go in one lane takes turns with the others like any key.
func TestHotKeyInALaneStarvesNobody(t *testing.T) {
	one := func(*relay.Message) relay.Lane { return relay.Lane{Number: 1, Strict: true} }
	d := newDispatcher(limits{window: 40, windowBytes: 1 << 20, chain: 64}, OrderByKey)
	for id := range int64(5) {
		d.add(keyed(1000+id, fmt.Sprint("before", id)))
	}
	for id := range int64(64) {
		d.add(keyed(id, "hot"))
	}
	for id := range int64(5) {
		d.add(keyed(1005+id, fmt.Sprint("behind", id)))
	}
	var hot, order []int64
	for m := d.next(nobody, one); m != nil; m = d.next(nobody, one) {
		if order = append(order, m.ID); m.ID < 1000 {
			hot = append(hot, m.ID)
		}
	}
	if len(order) != 40 || len(hot) != 30 || !slices.IsSorted(hot) || slices.Max(order[:12]) < 1009 {
		t.Fatalf("published %v, want ten other rows among the first, and 30 of the hot key in order", order)
	}
}

// A topic is found full while a row of it was given back and a later row of its key is
// still with the sink: the row is published again before the later one.
func TestRowThatWasGivenBackIsNotOvertakenWhenItsTopicIsFull(t *testing.T) {
	loose := func(*relay.Message) relay.Lane { return relay.Lane{Number: 1} }
	d := newDispatcher(limits{window: 40, windowBytes: 1 << 20, chain: 64, keyWindow: 4}, OrderByKey)
	first, second := keyed(1, "k"), keyed(2, "k")
	first.Topic, second.Topic = "full", "other"
	d.add(first)
	d.add(second)
	for _, want := range []*item{first, second} {
		if got := d.next(nobody, loose); got != want {
			t.Fatalf("published %v, want %d", got, want.ID)
		}
	}
	d.withdraw(first)
	if returned := d.returnTopic("full"); len(returned) != 0 {
		t.Errorf("%d rows went to the table while a later one of their key is with the sink", len(returned))
	}
	d.withdraw(second)
	for _, want := range []*item{first, second} {
		if got := d.next(nobody, loose); got != want {
			t.Fatalf("published again %v, want %d", got, want.ID)
		}
	}
	if !d.valid() {
		t.Error("the dispatcher is not valid")
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
		if m := d.next(nobody, noLane); m == nil || m.ID != id {
			t.Fatalf("next = %v, want row %d", m, id)
		}
	}
}

func TestMessageLargerThanTheWindowGoesAlone(t *testing.T) {
	d := newDispatcher(limits{window: 10, windowBytes: 100, chain: 4}, OrderByKey)
	small, large := &item{Message: &relay.Message{Ref: relay.Ref{ID: 1}, Size: 10}}, &item{Message: &relay.Message{Ref: relay.Ref{ID: 2}, Size: 1000}}
	d.add(small)
	d.add(large)
	if d.next(nobody, noLane) != small {
		t.Fatal("the small message does not go")
	}
	if d.next(nobody, noLane) != nil {
		t.Fatal("the large message goes beside another")
	}
	d.reported(small)
	d.release(small)
	if d.next(nobody, noLane) != large {
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
	d.next(nobody, noLane)
	d.reported(a)
	d.release(a)
	if d.next(nobody, noLane) != nil {
		t.Fatal("acknowledged but not committed, and the next row goes")
	}
	d.committed()
	if d.next(nobody, noLane) != b {
		t.Fatal("committed, and the next row does not go")
	}
}
