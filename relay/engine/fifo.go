package engine

// fifo is a queue in a ring buffer. It keeps no pointer to elements that were removed,
// as a slice that is cut from the front would. The zero value is empty.
type fifo[T any] struct {
	ring []T
	head int
	len  int
}

func (q *fifo[T]) push(v T) {
	if q.len == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.len)%len(q.ring)] = v
	q.len++
}

// pushFront adds an element before all others.
func (q *fifo[T]) pushFront(v T) {
	if q.len == len(q.ring) {
		q.grow()
	}
	q.head = (q.head + len(q.ring) - 1) % len(q.ring)
	q.ring[q.head] = v
	q.len++
}

// peek returns the oldest element; the queue must not be empty.
func (q *fifo[T]) peek() T { return q.ring[q.head] }

// at returns the i-th element, counted from the front.
func (q *fifo[T]) at(i int) T { return q.ring[(q.head+i)%len(q.ring)] }

// pop removes and returns the oldest element; the queue must not be empty.
func (q *fifo[T]) pop() T {
	var zero T
	v := q.ring[q.head]
	q.ring[q.head] = zero
	q.head = (q.head + 1) % len(q.ring)
	q.len--
	return v
}

func (q *fifo[T]) grow() {
	ring := make([]T, max(4, 2*len(q.ring)))
	for i := range q.len {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

// swap exchanges two elements, counted from the front.
func (q *fifo[T]) swap(i, j int) {
	a, b := (q.head+i)%len(q.ring), (q.head+j)%len(q.ring)
	q.ring[a], q.ring[b] = q.ring[b], q.ring[a]
}
