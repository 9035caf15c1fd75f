package postgres

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// connectTimeout bounds the attempt at one host where the URL does not.
const connectTimeout = 10 * time.Second

// ParseURL reads OUTBOX_DATABASE_URL. Its errors do not quote it: whatever is
// wrong with a URL may be wrong because of the password in it. Parameters that
// are not supported are a [KeywordError].
func ParseURL(url string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("parse OUTBOX_DATABASE_URL: %s: write postgres://user:password@host:5432/database, "+
			"with special characters of the password percent-encoded", urlFault(err))
	}
	if err := adapt(&config.Config); err != nil {
		return nil, fmt.Errorf("parse OUTBOX_DATABASE_URL: %w", err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	// The statements of setup checks run once. Those of the hot path are prepared by
	// this package, by name.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.StatementCacheCapacity = 0
	config.DescriptionCacheCapacity = 0
	return config, nil
}

// urlFault returns what pgx says about a URL without the URL. The cause within
// may quote parts of it, so only pgx's own words are kept.
func urlFault(err error) string {
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); !ok {
		return "it cannot be read"
	}
	text := strings.TrimPrefix(err.Error(), "cannot parse ")
	// The form is: `redacted URL`: message (cause).
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+len("`: "):]
	}
	message, _, _ := strings.Cut(text, " (")
	return message
}
