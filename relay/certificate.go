package relay

import (
	"crypto/x509"
	"errors"
	"strings"
)

// CertificateFix says what to do about a TLS handshake that has failed because of a
// certificate; empty: it is not about one. The driver's own words say which certificate.
// ca is the setting that names the authorities, client those of the client's certificate.
func CertificateFix(err error, ca, client string) string {
	if _, is := errors.AsType[x509.UnknownAuthorityError](err); is {
		return "the authority that has signed the server's certificate is not known: set " + ca + " to its file"
	}
	if _, is := errors.AsType[x509.HostnameError](err); is {
		return "the server's certificate is for other names: connect by one of them, or issue one for this name"
	}
	if invalid, is := errors.AsType[x509.CertificateInvalidError](err); is && invalid.Reason == x509.Expired {
		return "the server's certificate is not valid today: renew it there, or set the clock"
	}
	text := strings.ToLower(err.Error())
	for _, alert := range [...]struct{ text, fix string }{
		{"remote error: tls: unknown certificate authority", "the server does not know the authority that has signed the client's certificate: set " + client + ", or have the server trust it"},
		{"remote error: tls: expired certificate", "the client's certificate is not valid today: renew " + client},
		{"remote error: tls: bad certificate", "the server does not take the client's certificate: set " + client},
		{"remote error: tls: certificate required", "the server wants a client certificate: set " + client},
	} {
		if strings.Contains(text, alert.text) {
			return alert.fix
		}
	}
	return ""
}

// BrokerFix says what to do about a connection to a broker that was refused on this side,
// or because of a certificate; empty: for another reason.
func BrokerFix(err error) string {
	if refused, is := errors.AsType[*PlaintextError](err); is {
		return refused.Fix
	}
	return CertificateFix(err, "OUTBOX_TLS_CA_FILE", "OUTBOX_TLS_CERT_FILE and OUTBOX_TLS_KEY_FILE")
}
