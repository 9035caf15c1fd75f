package natsjs

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// takeError handles an error that the server sent outside of any reply. It runs on the
// library's goroutine for callbacks. An error that ends the connection is handled at
// the end of the connection.
func (s *session) takeError(err error) {
	subject, ok := publishViolation(err)
	if !ok {
		return
	}
	if operation, ok := apiOperation(subject); ok {
		s.denials.deny(operation)
		return
	}
	s.lanes.denied(subject)
	// The server reports every violation. The first report settles all messages in
	// flight to the subject, because they were all written with the same rights.
	for _, e := range s.pending.takeIf(func(e *entry, _ uint64) bool { return e.message.Topic == subject }) {
		e.done(forbidden(subject))
	}
}

// publishViolation finds the subject in the server's error for a publish that is not
// permitted. The error quotes the subject as Go does.
func publishViolation(err error) (subject string, ok bool) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return "", false
	}
	_, quoted, found := strings.Cut(err.Error(), `Permissions Violation for Publish to "`)
	if !found {
		return "", false
	}
	quoted, err = strconv.QuotedPrefix(`"` + quoted)
	if err != nil {
		return "", false
	}
	subject, err = strconv.Unquote(quoted)
	return subject, err == nil
}

// apiOperation cuts the prefix off a subject of the JetStream API: $JS.API. or
// $JS.<domain>.API.
func apiOperation(subject string) (operation string, ok bool) {
	if !strings.HasPrefix(subject, "$JS.") {
		return "", false
	}
	_, operation, ok = strings.Cut(subject, "API.")
	return operation, ok
}

// denials are the operations of the JetStream API that the server does not permit
// on this connection.
type denials struct {
	mu      sync.Mutex
	denied  map[string]bool
	waiting map[*wait]struct{}
}

type wait struct {
	operation string
	cancel    context.CancelCauseFunc
}

func newDenials() *denials {
	return &denials{denied: make(map[string]bool), waiting: make(map[*wait]struct{})}
}

// watch cancels a request with errDenied when its operation is denied. It returns
// denied = true if it is known already that the operation is denied. Otherwise the
// caller calls done after the request.
func (d *denials) watch(operation string, cancel context.CancelCauseFunc) (done func(), denied bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.denied[operation] {
		return nil, true
	}
	w := &wait{operation, cancel}
	d.waiting[w] = struct{}{}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting, w)
	}, false
}

func (d *denials) deny(operation string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.denied[operation] = true
	for w := range d.waiting {
		if w.operation == operation {
			w.cancel(errDenied)
		}
	}
}
