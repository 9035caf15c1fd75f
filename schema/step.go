package schema

import (
	"fmt"
	"slices"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// relation is the table, or a partition of it.
type relation struct {
	OID, Parent  uint32 // Parent: the relation that it is a partition of
	Schema, Name string
	Divided      bool // into partitions
}

func (r relation) table() Table { return Table{Schema: r.Schema, Name: r.Name} }

// builtIndex is an index that there is.
type builtIndex struct {
	OID, Of, Parent uint32 // Of: the relation; Parent: the index that it is a part of
	Name            string
	Valid           bool
}

// step is one statement on the way to an index.
type step struct {
	kind  stepKind
	index string // unquoted
	table Table  // or the partition
	sql   string
}

type stepKind uint8

const (
	stepBuild  stepKind = iota + 1 // takes long, and must run outside of a transaction
	stepFrame                      // the index of a divided table, without those of its parts
	stepAttach                     // makes an index a part of that of the divided table
)

// busyError: the index is being built by somebody else, or what was left of a build could
// not be dropped yet.
type busyError struct{ why string }

func (e *busyError) Error() string { return e.why }

// layout is the table with its partitions and indexes, as the catalogs have it. The table
// comes first, and each partition after what it is a part of.
type layout struct {
	relations []relation
	indexes   []builtIndex
}

// next returns what is to be done next, nil if nothing is. PostgreSQL builds no index of a
// divided table concurrently: first there is a frame without parts, which is not valid;
// then the index of each partition is built, and attached to it.
func (l layout) next(t Table) (*step, error) {
	for i, index := range t.Indexes() {
		s, err := l.nextOf(index, func(partition relation) Index { return partition.table().Indexes()[i] })
		if s != nil || err != nil {
			return s, err
		}
	}
	return nil, nil
}

func (l layout) nextOf(index Index, named func(relation) Index) (*step, error) {
	parts := make(map[uint32]builtIndex) // by the relation
	for n, r := range l.relations {
		wanted := index
		if n > 0 {
			wanted = named(r)
		}
		part, found := l.find(r, wanted, n == 0, parts[r.Parent].OID)
		switch {
		case !found:
			return l.make(r, wanted), nil
		case part.Valid && n == 0:
			return nil, nil
		case !part.Valid && !r.Divided:
			return nil, &busyError{fmt.Sprintf("index %s is not valid: another session builds it, or keeps this one from dropping what is left of it",
				sqltext.Identifier(part.Name))}
		case n > 0 && part.Parent == 0:
			return l.attach(r, part, parts[r.Parent]), nil
		}
		parts[r.OID] = part
	}
	// All parts are there, and the whole is not valid: a partition without its part has gone.
	// To attach one once more has the server look again.
	if last := len(l.relations) - 1; last > 0 {
		r := l.relations[last]
		return l.attach(r, parts[r.OID], parts[r.Parent]), nil
	}
	return nil, nil
}

// attach makes the index of a partition a part of the whole's.
func (l layout) attach(r relation, part, whole builtIndex) *step {
	name := Table{Schema: r.Schema, Name: whole.Name}
	if i := slices.IndexFunc(l.relations, func(up relation) bool { return up.OID == r.Parent }); i >= 0 {
		name.Schema = l.relations[i].Schema
	}
	return &step{stepAttach, part.Name, r.table(), fmt.Sprintf("ALTER INDEX %s ATTACH PARTITION %s",
		name.Quoted(), Table{Schema: r.Schema, Name: part.Name}.Quoted())}
}

// find returns the index of a relation: of a partition the one that is a part of the
// whole's, or else the one that has been built for that.
func (l layout) find(r relation, wanted Index, root bool, whole uint32) (builtIndex, bool) {
	var named *builtIndex
	for i, b := range l.indexes {
		switch {
		case b.Of != r.OID:
		case !root && whole != 0 && b.Parent == whole:
			return b, true
		case b.Name == wanted.Name && (root || b.Parent == 0):
			named = &l.indexes[i]
		}
	}
	if named == nil {
		return builtIndex{}, false
	}
	return *named, true
}

func (l layout) make(r relation, index Index) *step {
	if r.Divided {
		return &step{stepFrame, index.Name, r.table(), index.create("", "ONLY "+r.table().Quoted())}
	}
	return &step{stepBuild, index.Name, r.table(), index.create("CONCURRENTLY", r.table().Quoted())}
}
