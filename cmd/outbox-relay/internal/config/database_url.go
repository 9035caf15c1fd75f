package config

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// What is wrong with a database URL, in words that quote none of it: where a
// string cannot be taken apart, any piece of it may be the password.
var (
	errDatabaseScheme = errors.New("expected postgres://user:password@host:5432/database, or key=value pairs such as host=db user=relay")
	errDatabaseEscape = errors.New("a special character has to be percent-encoded in the user name and password: @ is %40, / is %2F, : is %3A, % is %25")
	errDatabasePairs  = errors.New("expected key=value pairs separated by spaces; a value with spaces or quotes goes in single quotes: password='it\\'s'")
	errDatabaseQuery  = errors.New("expected key=value pairs after the ?, separated by &")
	errDatabaseJDBC   = errors.New("expected a URL without jdbc: and with the user in it: postgres://user:password@host:5432/database")
	errDatabaseADO    = errors.New("that is an ADO.NET connection string: expected postgres://user:password@host:5432/database, " +
		"or key=value pairs separated by spaces, such as host=db port=5432 dbname=app user=relay password=secret")
	errDatabase = errors.New("PostgreSQL's driver does not accept it; check host, port and parameters")
)

// checkDatabaseURL says whether the driver accepts url, and why not.
func checkDatabaseURL(url string) error {
	switch {
	case strings.HasPrefix(url, "jdbc:"):
		return errDatabaseJDBC
	case isADO(url):
		return errDatabaseADO
	}
	rest, isURL := strings.CutPrefix(url, "postgres://")
	if !isURL {
		rest, isURL = strings.CutPrefix(url, "postgresql://")
	}
	var secrets []string
	var err error
	if isURL {
		secrets, err = dissectURL(rest)
	} else {
		secrets, err = dissectPairs(url)
	}
	if err != nil {
		return err
	}
	if _, err := pgx.ParseConfig(url); err != nil {
		return withoutURL(err, secrets)
	}
	_, err = postgres.ParseURL(url)
	if unsupported, ok := errors.AsType[*postgres.KeywordError](err); ok {
		return unsupported
	}
	return err
}

// keysADO are keys of ADO.NET's connection strings, as Npgsql reads them.
var keysADO = []string{
	"host", "server", "data source", "port", "database", "initial catalog", "username", "user name", "user id", "userid", "uid",
	"user", "password", "pwd", "ssl mode", "sslmode", "trust server certificate", "pooling", "maximum pool size", "minimum pool size",
	"timeout", "command timeout", "search path", "include error detail", "keepalive", "integrated security", "encoding",
}

// isADO says whether a text is key=value pairs separated by semicolons, with keys
// that ADO.NET knows. To libpq it would be one pair whose value has semicolons.
func isADO(text string) bool {
	pairs := strings.FieldsFunc(text, func(r rune) bool { return r == ';' })
	if len(pairs) < 2 || strings.Count(pairs[0], "=") > 1 { // several pairs of libpq's, with a semicolon in a value
		return false
	}
	known := 0
	for _, pair := range pairs {
		key, _, found := strings.Cut(pair, "=")
		if found && slices.Contains(keysADO, strings.ToLower(strings.TrimSpace(key))) {
			known++
		}
	}
	return known >= 2
}

// dissectURL takes a URL apart as libpq does, without its scheme, and returns
// the passwords in it. It refuses URLs that libpq takes but in which a password
// ends up as host, port or database name, from where connection errors print it.
func dissectURL(rest string) (secrets []string, err error) {
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		_, password, _ := strings.Cut(rest[:i], ":")
		secrets = append(secrets, password)
		rest = rest[i+1:]
	}
	address, query, _ := strings.Cut(rest, "?")
	if strings.Contains(address, "@") {
		return nil, errDatabaseEscape
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, found := strings.Cut(pair, "=")
		// An @ belongs into the values of few parameters; elsewhere it ends a
		// password with a question mark in it.
		mayHoldAt := slices.Contains([]string{"user", "password", "sslpassword", "application_name"}, key) &&
			!strings.Contains(value, "/")
		switch {
		case query == "":
		case strings.Contains(pair, "@") && !mayHoldAt:
			return nil, errDatabaseEscape
		case !found, strings.Contains(value, "="):
			return nil, errDatabaseQuery
		case strings.HasSuffix(key, "password"):
			secrets = append(secrets, value)
		}
	}
	return secrets, nil
}

// pair is one key=value of libpq's keyword form, to which \v is a space too.
var pair = regexp.MustCompile(`(?s)^[\s\v]*([A-Za-z_.]+)[\s\v]*=[\s\v]*('(?:\\.|[^'\\])*'|(?:\\.|[^\s\v\\'])(?:\\.|[^\s\v\\])*|)([\s\v]|$)`)

// dissectPairs takes the keyword form apart and returns the passwords in it.
func dissectPairs(rest string) (secrets []string, err error) {
	if !strings.Contains(rest, "=") || strings.Contains(rest, "://") && !pair.MatchString(rest) {
		return nil, errDatabaseScheme
	}
	for strings.TrimSpace(rest) != "" {
		match := pair.FindStringSubmatch(rest)
		if match == nil {
			return nil, errDatabasePairs
		}
		if strings.HasSuffix(match[1], "password") {
			secrets = append(secrets, strings.Trim(match[2], "'"))
		}
		rest = rest[len(match[0]):]
	}
	return secrets, nil
}

// withoutURL keeps the driver's reason and drops what it quotes of the URL.
func withoutURL(err error, secrets []string) error {
	refused, ok := errors.AsType[*pgconn.ParseConfigError](err)
	if !ok {
		return errDatabase
	}
	blank := *refused
	blank.ConnString = ""
	_, reason, found := strings.Cut(blank.Error(), "``: ")
	if !found {
		return errDatabase
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(reason, secret) {
			return errDatabase
		}
	}
	return errors.New(reason)
}
