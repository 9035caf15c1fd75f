package e2e_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
)

// natsConfig is the part of a server's configuration that a test replaces.
type natsConfig struct{ secretFile }

// include is the line of the configuration that reads the part. The server looks for an
// included file below its own directory.
func (c natsConfig) include() string {
	return fmt.Sprintf("include %q", strings.Repeat("../", 32)+strings.TrimPrefix(c.path, "/"))
}

// serve has the broker start anew with that configuration.
func (w *world) serve(c natsConfig, config string) {
	w.t.Helper()
	c.write(config)
	w.killBroker()
	w.restartBroker()
}

const natsRefuses = "Authorization Violation"

// What is in the configuration of a server without an operator. The test comes in by the
// token that the relay should have, and as admin where there is none.
func TestRotatedNATSUsersAreTakenUpUnderLoad(t *testing.T) {
	t.Parallel()
	users := func(relay string) string {
		return "authorization { users: [" + relay + ", {user: admin, password: a}] }\nno_auth_user: admin\n"
	}
	var token atomic.Pointer[string]
	ofToken := func(value string) string {
		token.Store(&value)
		if value == "" {
			return ""
		}
		return "authorization { token: " + value + " }\n"
	}
	config := natsConfig{newSecretFile(t, ofToken("first"))}
	w := newWorld(t, worldOptions{
		broker: config.include(), admin: nats.TokenHandler(func() string { return *token.Load() }),
	})
	tokenFile, firstKey, secondKey := newSecretFile(t, "first"), newNKey(t), newNKey(t)
	seed := newSecretFile(t, firstKey.seed)
	withPassword := func(password string) string {
		return strings.Replace(w.broker.URL(), "://", "://relay:"+password+"@", 1)
	}
	url := newSecretFile(t, withPassword("first"))
	ofUsers := func(relay string) func() {
		return func() { w.serve(config, ofToken("")+users(relay)) }
	}
	w.rotate(
		rotation{
			secret: "the token", variables: []string{"OUTBOX_NATS_TOKEN_FILE", tokenFile.path},
			revoke: func() { w.serve(config, ofToken("second")) }, complaint: []string{natsRefuses},
			renew: func() { tokenFile.write("second\n") },
		},
		rotation{
			secret: "the nkey", variables: []string{"OUTBOX_NATS_NKEY_FILE", seed.path},
			begin:  ofUsers("{nkey: " + firstKey.public + "}"),
			revoke: ofUsers("{nkey: " + secondKey.public + "}"), complaint: []string{natsRefuses},
			renew: func() { seed.write(secondKey.seed) },
		},
		rotation{
			secret: "the password in the URL", variables: []string{"OUTBOX_SINK_URL", "", "OUTBOX_SINK_URL_FILE", url.path},
			begin: ofUsers("{user: relay, password: first}"),
			revoke: func() {
				url.write("") // as long as it is written
				ofUsers("{user: relay, password: second}")()
			},
			complaint: []string{"OUTBOX_SINK_URL_FILE=" + url.path + ": the file is empty"},
			renew:     func() { url.write(withPassword("second") + "\n") },
		},
	)
}

// What an operator signs, and certificates. The test comes in unencrypted as the default
// user, which the relay cannot: it demands TLS.
func TestRotatedNATSCredentialsAndCertificatesAreTakenUpUnderLoad(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	first, second := newNKey(t), newNKey(t)
	config := natsConfig{newSecretFile(t, o.config())}
	w := newWorld(t, worldOptions{broker: config.include()})
	creds := newSecretFile(t, o.creds(first))

	ours, next := authority.New(t, "ours"), authority.New(t, "next")
	tls := func(of, clients *authority.Authority) func() {
		cert, key := of.Issue("server")
		block := fmt.Sprintf("allow_non_tls: true\ntls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }\n", cert, key, clients.File)
		return func() { w.serve(config, o.config(first)+block) }
	}
	ca, shown := copied(t, ours.File), certify(t, ours, "relay")
	encrypted := []string{
		"OUTBOX_SINK_URL", "tls://" + w.broker.Addr(), "OUTBOX_NATS_CREDS_FILE", creds.path,
		"OUTBOX_TLS_CA_FILE", ca.path, "OUTBOX_TLS_CERT_FILE", shown.cert.path, "OUTBOX_TLS_KEY_FILE", shown.key.path,
	}
	w.rotate(
		rotation{
			secret: "the credentials", variables: []string{"OUTBOX_NATS_CREDS_FILE", creds.path},
			revoke: func() { w.serve(config, o.config(first)) }, complaint: []string{natsRefuses},
			renew: func() { creds.write(o.creds(second)) },
		},
		rotation{
			secret: "the server's authority", variables: encrypted,
			begin: tls(ours, ours), revoke: tls(next, ours), complaint: []string{"signed by unknown authority"},
			renew: func() { ca.copy(next.File) },
		},
		rotation{
			secret: "the client certificate", variables: encrypted,
			revoke: tls(next, next), complaint: []string{"OUTBOX_TLS_CERT_FILE"},
			renew: func() { shown.renew(next) },
		},
	)
}

type nkey struct{ public, seed string }

func newNKey(t testing.TB) nkey {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	return nkey{publicKey(t, pair), seedOf(t, pair)}
}

func seedOf(t testing.TB, pair nkeys.KeyPair) string {
	t.Helper()
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return string(seed)
}

func publicKey(t testing.TB, pair nkeys.KeyPair) string {
	t.Helper()
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// operator signs an account with JetStream, in which users are by their credentials.
type operator struct {
	t                         testing.TB
	operator, account, system nkeys.KeyPair
}

func newOperator(t testing.TB) *operator {
	t.Helper()
	o := &operator{t: t}
	for pair, create := range map[*nkeys.KeyPair]func() (nkeys.KeyPair, error){
		&o.operator: nkeys.CreateOperator, &o.account: nkeys.CreateAccount, &o.system: nkeys.CreateAccount,
	} {
		var err error
		if *pair, err = create(); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func (o *operator) sign(claims jwt.Claims, by nkeys.KeyPair) string {
	o.t.Helper()
	text, err := claims.Encode(by)
	if err != nil {
		o.t.Fatal(err)
	}
	return text
}

// user is the signed claim of a user of the account. A bearer needs no key.
func (o *operator) user(public string, bearer bool) string {
	o.t.Helper()
	claims := jwt.NewUserClaims(public)
	claims.BearerToken = bearer
	return o.sign(claims, o.account)
}

// creds is a credentials file.
func (o *operator) creds(of nkey) string {
	o.t.Helper()
	text, err := jwt.FormatUserConfig(o.user(of.public, false), []byte(of.seed))
	if err != nil {
		o.t.Fatal(err)
	}
	return string(text)
}

// config is the server's part, without those whose credentials are revoked. Who shows
// none is a user with all rights.
func (o *operator) config(revoked ...nkey) string {
	o.t.Helper()
	system, account := publicKey(o.t, o.system), publicKey(o.t, o.account)
	signed := jwt.NewOperatorClaims(publicKey(o.t, o.operator))
	signed.SystemAccount = system
	application := jwt.NewAccountClaims(account)
	application.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
	for _, r := range revoked {
		application.Revoke(r.public)
	}
	return fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n%s: %s\n%s: %s\n}\ndefault_sentinel: %q\n",
		o.sign(signed, o.operator), system, account, o.sign(application, o.operator),
		system, o.sign(jwt.NewAccountClaims(system), o.operator), o.user(newNKey(o.t).public, true))
}
