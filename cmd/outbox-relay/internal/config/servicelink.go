package config

import (
	"regexp"
	"strings"
)

// hostSuffix ends the name of the variable that Kubernetes injects first for
// every Service of the namespace that has an address.
const hostSuffix = "_SERVICE_HOST"

// servicePart is what may follow a Service's prefix: the forms of Kubernetes
// itself and those it took over from Docker's links.
var servicePart = regexp.MustCompile(`^(_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// isServiceLink says whether Kubernetes injected this variable for a Service
// named outbox or outbox-something. They always come with the Service's
// _SERVICE_HOST; without it a name such as OUTBOX_HTTP_PORT is a mistake.
func isServiceLink(name string, given map[string]string) bool {
	for host := range given {
		service, found := strings.CutSuffix(host, hostSuffix)
		if !found {
			continue
		}
		if part, found := strings.CutPrefix(name, service); found && servicePart.MatchString(part) {
			return true
		}
	}
	return false
}
