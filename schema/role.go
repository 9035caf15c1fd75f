package schema

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// GrantRole makes the relay's role if it is missing and grants it what the relay
// needs on a table that exists. With a password the role gets that password; it
// is hashed here, so that the server's log never sees it.
//
// conn must not be in a transaction, and stays the caller's.
func GrantRole(ctx context.Context, conn *pgx.Conn, o RoleOptions, password string) error {
	if err := runScript(ctx, conn, RoleSQL(o), o.Table, 0); err != nil {
		return fmt.Errorf("grant role %s: %w", displayIdentifier(o.Role), err)
	}
	if password == "" {
		return nil
	}
	verifier, err := scramVerifier(password)
	if err != nil {
		return fmt.Errorf("set password of role %s: %w", displayIdentifier(o.Role), err)
	}
	if _, err := conn.Exec(ctx, "ALTER ROLE "+sqltext.Identifier(o.Role)+" PASSWORD "+sqltext.Literal(verifier)); err != nil {
		return fmt.Errorf("set password of role %s: %w", displayIdentifier(o.Role), describe(err))
	}
	return nil
}
