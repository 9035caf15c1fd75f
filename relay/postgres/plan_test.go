package postgres_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
)

// node is a part of a plan.
type node struct {
	Type        string `json:"Node Type"`
	Relation    string `json:"Relation Name"`
	Index       string `json:"Index Name"`
	Condition   string `json:"Index Cond"`
	Filter      string
	Parallel    bool   `json:"Parallel Aware"`
	Subplan     string `json:"Subplan Name"`
	Plans       []node
	StartupCost float64 `json:"Startup Cost"`
}

// faults appends what is wrong with a plan. bounded says that a LIMIT ends what the
// node yields as it comes; sorted that all of it is read before the first row.
func (n node) faults(bounded, sorted bool, path string) []string {
	path += "/" + n.Type
	var faults []string
	switch {
	case n.Parallel, strings.HasPrefix(n.Type, "Gather"):
		faults = append(faults, path+": parallel")
	case n.Relation == "outbox" && n.Type == "Seq Scan", n.Type == "Bitmap Heap Scan":
		faults = append(faults, path+": reads all of the table")
	case n.Type == "Limit":
		bounded, sorted = true, false
	case n.Type == "Sort" || n.Type == "Incremental Sort" || n.Type == "Aggregate" || n.Type == "Hash" || n.Type == "WindowAgg":
		sorted = true
	}
	if n.Index != "" && n.Relation == "outbox" {
		byID := strings.Contains(n.Condition, "id = ")
		switch {
		case byID:
		case n.Index == "outbox_pkey" && bounded && strings.Contains(n.Condition, "id >= ") && strings.Contains(n.Condition, "id <= "):
		case n.Index == "outbox_pkey" && (n.Filter != "" || n.Type != "Index Only Scan"):
			faults = append(faults, fmt.Sprintf("%s: walks the primary key, filter %s", path, n.Filter))
		case !bounded || sorted:
			faults = append(faults, fmt.Sprintf("%s: reads all of index %s where %s", path, n.Index, n.Condition))
		}
	}
	if n.Type == "Nested Loop" && n.Plans[1].compares() {
		faults = append(faults, path+": compares each row of the table with the batch")
	}
	for _, child := range n.Plans {
		// What a subplan reads, its own LIMIT has to bound.
		if child.Subplan != "" {
			faults = append(faults, child.faults(false, false, path)...)
			continue
		}
		faults = append(faults, child.faults(bounded, sorted, path)...)
	}
	return faults
}

// compares says whether a batch is read again for each row of the other side of a join.
func (n node) compares() bool { return n.Type == "Function Scan" || n.Type == "CTE Scan" }

// The relay's statements read what they need and no more, whatever the statistics
// say: at ten million rows, of which a handful are due, or all.
func TestNoPlanDependsOnStatistics(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	// What a role can set for its sessions must not matter.
	for _, set := range []string{
		"max_parallel_workers_per_gather = 8", "parallel_setup_cost = 0", "parallel_tuple_cost = 0", "min_parallel_table_scan_size = 0",
		"min_parallel_index_scan_size = 0", "work_mem = '64kB'", "plan_cache_mode = force_generic_plan", "jit = on", "jit_above_cost = 0",
		"enable_indexscan = off", "enable_indexonlyscan = off", "enable_nestloop = off", "enable_sort = off", "enable_seqscan = on",
		"random_page_cost = 1000000", "cpu_index_tuple_cost = 1000000", "geqo = on", "geqo_threshold = 2", "join_collapse_limit = 1",
	} {
		f.exec(`ALTER ROLE ` + f.role() + ` SET ` + set)
	}
	f.exec(`ALTER TABLE {t} SET (autovacuum_enabled = off)`)
	insert := func(n int, available, sent string) {
		f.exec(fmt.Sprintf(`INSERT INTO {t} (topic, key, payload, available_at, sent_at) SELECT 't', 'k' || n %% 10, '1', %s, %s
			FROM generate_series(1, %d) AS n`, available, sent, n))
	}
	grow := func() {
		f.exec(`UPDATE pg_class SET relpages = greatest(1, pg_relation_size(oid) / 8192), reltuples = 1e7
			WHERE oid = '{t}'::regclass OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = '{t}'::regclass)`)
	}
	insert(2000, "NULL", "now()")
	insert(500, "NULL", "NULL")
	insert(500, "now() - interval '1 minute'", "NULL")
	insert(500, "now() + interval '1 year'", "NULL")
	cases := []struct {
		name    string
		arrange func()
	}{
		{"never analyzed", func() { f.exec(`DELETE FROM pg_statistic WHERE starelid = '{t}'::regclass`) }},
		{"fresh", func() { f.exec(`ANALYZE {t}`) }},
		{"stale: all was sent", func() {
			f.exec(`UPDATE {t} SET sent_at = NULL, available_at = NULL WHERE sent_at IS NOT NULL`)
		}},
		{"stale: nothing was sent", func() { f.exec(`ANALYZE {t}`); f.exec(`UPDATE {t} SET sent_at = now()`) }},
		{"stale: all was scheduled", func() {
			f.exec(`UPDATE {t} SET sent_at = NULL, available_at = now() - interval '1 minute'`)
			f.exec(`ANALYZE {t}`)
		}},
		{"small, and stale: all was sent", func() {
			f.exec(`TRUNCATE {t}`)
			insert(2000, "NULL", "now()")
			f.exec(`VACUUM ANALYZE {t}`)
			f.exec(`UPDATE {t} SET sent_at = NULL`)
			grow = func() {}
		}},
		{"small, and with the application's own indexes", func() {
			f.exec(`CREATE INDEX ON {t} (sent_at)`)
			f.exec(`CREATE INDEX ON {t} (dead_at)`)
			f.exec(`CREATE INDEX ON {t} (topic) WHERE dead_at IS NULL`)
		}},
		{"counted before a large transaction was committed", func() {
			f.exec(`TRUNCATE {t}`)
			f.exec(`DELETE FROM pg_statistic WHERE starelid = '{t}'::regclass`)
			bulk := f.other()
			begin(t, bulk, "BEGIN", f.sql(`INSERT INTO {t} (topic, key, payload) SELECT 't', 'k' || n % 10, '1' FROM generate_series(1, 20000) AS n`))
			f.exec(`ANALYZE {t}`)
			begin(t, bulk, "COMMIT")
			grow = func() {}
		}},
	}
	for _, c := range cases {
		c.arrange()
		grow()
		leader, s := f.lead()
		plans, err := postgres.Explain(t.Context(), leader, s)
		if err != nil {
			t.Fatal(err)
		}
		dead := f.dead(relay.ReplayDead)
		more, err := postgres.ExplainDead(t.Context(), dead)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(plans, more)
		for name, text := range plans {
			var plan []struct{ Plan node }
			if err := json.Unmarshal([]byte(text), &plan); err != nil {
				t.Fatal(err)
			}
			// A range is bounded by its ends, and not by a LIMIT.
			for _, fault := range plan[0].Plan.faults(name == "mark_range", false, "") {
				t.Errorf("%s, statement %s: %s", c.name, name, fault)
			}
			if testing.Verbose() && t.Failed() {
				t.Log(text)
			}
		}
		if len(plans) != 33 {
			t.Errorf("%d statements", len(plans))
		}
		leader.Close()
		s.Close()
		dead.Close()
	}
}

// The planner sees a batch's ids compared in one way only, and no other condition for which it
// could choose an index: see same_id and unsent in parts.sql.
func TestBatchesAreLookedUpByID(t *testing.T) {
	files, err := filepath.Glob("sql/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "o.id = m.id") && !strings.Contains(line, "OFFSET 0") { // which makes it a look-up for each row
				t.Errorf("%s: %s: write same_id", file, strings.TrimSpace(line))
			}
			if strings.Contains(line, `{{template "same_`) && strings.Contains(line, " AND o.") {
				t.Errorf("%s: %s: put the condition into ( ) IS TRUE", file, strings.TrimSpace(line))
			}
		}
	}
}
