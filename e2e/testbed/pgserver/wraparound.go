package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNoReset: pg_resetwal is not among the server programs.
var ErrNoReset = errors.New("no pg_resetwal beside PostgreSQL's server programs")

// transactionsPerFile is how many transactions a file of pg_xact has the outcomes of, in
// two bits each.
const (
	transactionsPerFile = 1 << 20
	transactionsFile    = transactionsPerFile / 4 // bytes
)

// SkipTransactions has the stopped server give the id to its next transaction, as if all
// those before had been. The server must have been stopped in good order.
func (s *Server) SkipTransactions(ctx context.Context, next uint32) error {
	if _, err := exec.LookPath(filepath.Join(s.bin, "pg_resetwal")); err != nil {
		return fmt.Errorf("%w: %w", ErrNoReset, err)
	}
	// The server reads the outcomes of the transactions that share a page with the next.
	file := filepath.Join(s.data(), "pg_xact", fmt.Sprintf("%04X", next/transactionsPerFile))
	if err := os.WriteFile(file, make([]byte, transactionsFile), 0o600); err != nil {
		return fmt.Errorf("skip transactions: %w", err)
	}
	if s.owner != nil {
		if err := os.Chown(file, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			return fmt.Errorf("skip transactions: %w", err)
		}
	}
	return s.dir.Run(ctx, s.own("pg_resetwal", "-D", s.data(), "-x", fmt.Sprint(next)))
}
