package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

// most tests wait for something most of the time, so more of them than there
// are processors run side by side, unless the command line says how many.
const parallel = "4"

func TestMain(m *testing.M) {
	if os.Getenv(byHandDatabase) != "" {
		os.Exit(publishByHandUntilTold())
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", parallel); err != nil {
			fmt.Fprintln(os.Stderr, "set test.parallel:", err)
			os.Exit(1)
		}
	}
	pgtest.AtEnd(closeSharedNode)
	os.Exit(pgtest.Main(m))
}
