package pgserver

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxSocketDir is the longest directory for a Unix socket: its whole path has
// 103 bytes on some systems.
const maxSocketDir = 80

// settings are values of postgresql.conf by name, without quotes.
type settings map[string]string

// with returns a copy that others are added to, or replaced by.
func (s settings) with(others map[string]string) settings {
	all := settings{}
	maps.Copy(all, s)
	maps.Copy(all, others)
	return all
}

// defaults are the settings of a cluster that lives for a test. Only those that
// cost nothing in meaning are changed: synchronous_commit stays on, and WAL
// order and crash recovery are as in production.
func defaults() settings {
	return settings{
		"fsync":                   "off",
		"full_page_writes":        "off",
		"wal_level":               "logical",
		"max_wal_senders":         "20",
		"max_replication_slots":   "20",
		"max_connections":         "200",
		"shared_buffers":          "128MB",
		"listen_addresses":        "127.0.0.1",
		"log_line_prefix":         "%m [%p] %u@%d %a ",
		"lc_messages":             "C",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"logging_collector":       "off",
		"log_destination":         "stderr",
		"unix_socket_permissions": "0700",
	}
}

// render is the text of a configuration file: the defaults, then the caller's
// settings, then what makes the cluster private.
func render(own settings, port int, socketDir string) string {
	all := defaults().with(own)
	all["port"] = strconv.Itoa(port)
	all["unix_socket_directories"] = socketDir
	if len(socketDir) > maxSocketDir {
		all["unix_socket_directories"] = ""
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, quote.Replace(all[name]))
	}
	return b.String()
}

// quote escapes a value in postgresql.conf.
var quote = strings.NewReplacer(`\`, `\\`, `'`, `''`, "\n", `\n`)
