package rabbitmq_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/authority"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

// A server that refuses the client's certificate says so when the handshake is over on this
// side. Whether the client library reads that before its first write, at the same time, or
// after it, the error names the certificate. (The time between the two cannot be chosen with
// a node, so this is a TLS server that does nothing else, many times.)
func TestRefusedCertificateIsNamedWheneverItIsRead(t *testing.T) {
	t.Parallel()
	ours := authority.New(t, "ours")
	certFile, keyFile := ours.Issue("server")
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(ours.File)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.(*tls.Conn).Handshake()
				conn.Close()
			}()
		}
	}()
	clientCert, clientKey := ours.IssueExpired("expired-client")
	o := rabbitmq.Options{SinkOptions: link.SinkOptions{
		URLs: "amqps://" + listener.Addr().String(),
		TLS:  rabbitmq.TLS{CAFile: ours.File, CertFile: clientCert, KeyFile: clientKey},
	}}
	const times = 50
	for n := range times {
		err := probe(t, open(t, o))
		if err == nil || !strings.Contains(err.Error(), "tls:") || !strings.Contains(err.Error(), "OUTBOX_TLS_CERT_FILE") {
			t.Fatalf("attempt %d: probe says %v", n, err)
		}
	}
}
