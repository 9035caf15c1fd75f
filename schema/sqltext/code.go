package sqltext

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// Code is the SQLSTATE of a server's error, and empty for any other error.
func Code(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}
