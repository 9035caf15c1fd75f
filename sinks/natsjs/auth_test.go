package natsjs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

// works publishes one message to the broker's stream.
func works(t *testing.T, o natsjs.Options) {
	t.Helper()
	s := open(t, o)
	reach(t, s)
	if got := await(t, s, messageTo(goodTopic, 1)); got.Class != relay.Acknowledged {
		t.Errorf("outcome is %s %q (%v)", got.Class, got.Type, got.Err)
	}
}

func secured(t *testing.T, authorization, user string) *broker {
	t.Helper()
	return startBrokerAs(t, "authorization { "+authorization+" }", user)
}

func TestUserAndPasswordInURL(t *testing.T) {
	b := secured(t, `user: relay, password: "s3cr%t,/"`, "relay:s3cr%25t%2C%2F")
	works(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.url}})
}

func TestTokenInURLAndInOption(t *testing.T) {
	b := secured(t, `token: t0ken`, "t0ken")
	works(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.url}})
	works(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL()}, Token: "t0ken"})
}

// The token was rotated at the server before the file had the new one.
func TestTokenAndURLsAreReadForEachConnection(t *testing.T) {
	b := secured(t, `token: new`, "new")
	tokens := func() func() (string, error) {
		answers := []string{"old", "new"}
		return func() (string, error) {
			token := answers[0]
			answers = answers[len(answers)-1:]
			return token, nil
		}
	}
	works(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL()}, Token: "old", ReadToken: tokens()})

	const old = "nats://127.0.0.1:1"
	asked := 0
	works(t, natsjs.Options{
		SinkOptions: link.SinkOptions{
			URLs: old,
			ReadURLs: func() (string, error) {
				switch asked++; asked {
				case 1: // by Open
					return old, nil
				case 2:
					return "", errors.New("the file is empty")
				}
				return b.url, nil
			},
		},
	})
}

func TestNKeyFile(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, _ := user.Seed()
	public, _ := user.PublicKey()
	b := secured(t, fmt.Sprintf(`users: [{nkey: %s}, {user: admin, password: a}]`, public), "admin:a")
	works(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL()}, NKeyFile: file(t, "user.nk", seed)})
}

func TestCredentialsFile(t *testing.T) {
	config, creds := operatorConfig(t)
	credsFile := file(t, "user.creds", creds)
	s, err := natsserver.StartInProcess(t.Context(), natsserver.Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	works(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: s.URL(), Topology: natsjs.Create}, CredsFile: credsFile})
}

// operatorConfig makes an operator, an account with JetStream and a user, and
// returns the server's configuration and the user's credentials.
func operatorConfig(t *testing.T) (config string, creds []byte) {
	t.Helper()
	operator, _ := nkeys.CreateOperator()
	account, _ := nkeys.CreateAccount()
	system, _ := nkeys.CreateAccount()
	user, _ := nkeys.CreateUser()
	public := func(k nkeys.KeyPair) string {
		s, err := k.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	encode := func(c jwt.Claims, k nkeys.KeyPair) string {
		s, err := c.Encode(k)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	oc := jwt.NewOperatorClaims(public(operator))
	oc.SystemAccount = public(system)
	ac := jwt.NewAccountClaims(public(account))
	ac.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
	sc := jwt.NewAccountClaims(public(system))
	uc := jwt.NewUserClaims(public(user))
	uc.IssuerAccount = public(account)
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	creds, err = jwt.FormatUserConfig(encode(uc, account), seed)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n%s: %s\n%s: %s\n}\n",
		encode(oc, operator), public(system),
		public(account), encode(ac, operator), public(system), encode(sc, operator)), creds
}

func TestWrongCredentialsAreTriedUntilTheyAreRight(t *testing.T) {
	const wrong, right = "secret-wrong", "secret-right"
	dir := t.TempDir()
	start := func(port int, password string) *natsserver.Server {
		s, err := natsserver.StartInProcess(t.Context(), natsserver.Options{
			Dir: dir, Port: port, Config: fmt.Sprintf("authorization { user: relay, password: %q }", password),
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := start(0, wrong)
	log := &transcript.Text{}
	s := open(t, natsjs.Options{
		SinkOptions: link.SinkOptions{
			URLs:     "nats://relay:" + right + "@" + first.Addr(),
			Topology: natsjs.Create,
			Logger:   slog.New(slog.NewTextHandler(log, nil)),
		},
	})
	// The client library alone would have given up after fewer tries.
	for range 5 {
		err := probe(t, s)
		if err == nil || !strings.Contains(err.Error(), "Authorization Violation") || !strings.Contains(err.Error(), "OUTBOX_SINK_URL") {
			t.Fatalf("probe with a wrong password: %v", err)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	if got := await(t, s, messageTo(goodTopic, 1)); got.Class != relay.Unavailable || got.Type != relay.ErrorTypeDisconnected {
		t.Errorf("outcome is %s %q (%v)", got.Class, got.Type, got.Err)
	}
	_, digits, _ := net.SplitHostPort(first.Addr())
	port, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start(port, right)
	t.Cleanup(func() { second.Close() })
	reach(t, s)
	if got := await(t, s, messageTo(goodTopic, 2)); got.Class != relay.Acknowledged {
		t.Errorf("outcome is %s %q (%v)", got.Class, got.Type, got.Err)
	}
	text := log.String()
	if strings.Contains(text, "secret") {
		t.Errorf("the log shows the password:\n%s", text)
	}
	// Once, and again after ten seconds and after twenty, if the machine is so slow.
	if n := strings.Count(text, "cannot connect"); n < 1 || n > 3 {
		t.Errorf("the failures are logged %d times, want once in ten seconds:\n%s", n, text)
	}
	if !strings.Contains(text, "connected to NATS") {
		t.Errorf("the recovery is not logged:\n%s", text)
	}
}

func TestPublishOnlyRightsSuffice(t *testing.T) {
	t.Parallel()
	b := secured(t, `users: [
		{user: admin, password: a},
		{user: relay, password: r, permissions: {publish: ["good.>", "nowhere.>"], subscribe: ["_INBOX.>"]}}]`, "admin:a")
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://relay:r@" + b.Addr(), AckTimeout: 3 * time.Second}})
	reach(t, s) // the probe may not ask JetStream, but sees that the broker is there
	if got := await(t, s, messageTo(goodTopic, 1)); got.Class != relay.Acknowledged {
		t.Fatalf("outcome is %s %q (%v)", got.Class, got.Type, got.Err)
	}
	// The stream cannot be looked up, so only the success of another message decides.
	if got := await(t, s, messageTo(nowhereTopic, 2)); got.Class != relay.Unavailable || got.Type != relay.ErrorTypeNotReady {
		t.Errorf("an unroutable message alone is %s %q (%v)", got.Class, got.Type, got.Err)
	}
	refusedBeside(t, s, 3)
}

// refusedBeside checks that a message which no stream takes is refused once another one,
// published after it, is acknowledged. If the machine stands still between the two, the
// first one is over before, and both are published again.
func refusedBeside(t *testing.T, s relay.Sink, i int) {
	t.Helper()
	for n := 1; ; n++ {
		reports := make(chan relay.Outcome, 1)
		s.Publish(messageTo(nowhereTopic, i), func(_ *relay.Message, o relay.Outcome) { reports <- o })
		expectInTime(t, s, messageTo(goodTopic, i+n), relay.Acknowledged, "", "")
		if o := <-reports; n == tries || o.Class != relay.Unavailable {
			check(t, messageTo(nowhereTopic, i), o, relay.Refused, relay.ErrorTypeUnroutable, "")
			return
		}
	}
}

// A denied question does not mean that the server is dead: the denial is an answer.
func TestDeniedQuestionEndsNoConnection(t *testing.T) {
	t.Parallel()
	b := secured(t, `users: [
		{user: admin, password: a},
		{user: relay, password: r, permissions: {publish: ["good.>", "silent"], subscribe: ["_INBOX.>"]}}]`, "admin:a")
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://relay:r@" + b.Addr(), AckTimeout: 3 * time.Second}})
	reach(t, s)
	for i := range 2 {
		expectInTime(t, s, messageTo(silentTopic, i), relay.Refused, relay.ErrorTypeTimeout, "")
	}
	expectInTime(t, s, messageTo(goodTopic, 3), relay.Acknowledged, "", "")
}

func TestTopicThatIsNotPermittedIsForbidden(t *testing.T) {
	b := secured(t, `users: [
		{user: admin, password: a},
		{user: relay, password: r, permissions: {publish: {deny: ["good.secret", "good.\"q\""]}}}]`, "admin:a")
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://relay:r@" + b.Addr(), AckTimeout: time.Minute}})
	reach(t, s)
	for i, topic := range []string{"good.secret", `good."q"`} {
		begin := time.Now()
		got := await(t, s, messageTo(topic, 2*i))
		if got.Class != relay.Refused || got.Type != relay.ErrorTypeForbidden {
			t.Errorf("outcome for %s is %s %q (%v)", topic, got.Class, got.Type, got.Err)
		}
		if d := time.Since(begin); d > 30*time.Second {
			t.Errorf("it took %s: the server's own word was not heard", d)
		}
		if got := await(t, s, messageTo(goodTopic, 2*i+1)); got.Class != relay.Acknowledged {
			t.Errorf("the next outcome is %s %q (%v)", got.Class, got.Type, got.Err)
		}
	}
}

func TestInboxThatIsNotPermittedIsNamed(t *testing.T) {
	b := secured(t, `users: [
		{user: admin, password: a},
		{user: relay, password: r, permissions: {publish: ">", subscribe: ["_RELAY.>"]}}]`, "admin:a")
	url := "nats://relay:r@" + b.Addr()
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: url}})
	err := probe(t, s)
	if err == nil || !strings.Contains(err.Error(), "OUTBOX_NATS_INBOX_PREFIX") {
		t.Errorf("probe says %v", err)
	}
	works(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: url}, InboxPrefix: "_RELAY"})
}

// messageTo is message number i for a topic.
func messageTo(topic string, i int) *relay.Message {
	m := benchMessage(i)
	m.Topic = topic
	return m
}

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func probe(t *testing.T, s relay.Sink) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return s.Probe(ctx)
}
