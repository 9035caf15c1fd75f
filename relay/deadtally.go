package relay

import (
	"cmp"
	"context"
	"slices"
)

// DeadTally counts dead rows by topic and kind of error. The zero value is empty.
type DeadTally struct {
	Rows   int64
	Others int64 // of these, in groups beyond the first thousand
	groups map[[2]string]*DeadGroup
}

// maxDeadGroups bounds what is kept.
const maxDeadGroups = 1000

// Add adds a group, of a page for example.
func (t *DeadTally) Add(g DeadGroup) {
	if t.groups == nil {
		t.groups = make(map[[2]string]*DeadGroup)
	}
	t.Rows += g.Rows
	name := [2]string{g.Topic, g.ErrorType}
	known := t.groups[name]
	switch {
	case known != nil:
		known.Rows += g.Rows
		known.Error = g.Error
		if g.First.Before(known.First) {
			known.First = g.First
		}
		if g.Last.After(known.Last) {
			known.Last = g.Last
		}
	case len(t.groups) < maxDeadGroups:
		t.groups[name] = &g
	default:
		t.Others += g.Rows
	}
}

// Sorted is the groups, the largest first.
func (t *DeadTally) Sorted() []*DeadGroup {
	var list []*DeadGroup
	for _, g := range t.groups {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *DeadGroup) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ErrorType, b.ErrorType))
	})
	return list
}

// noLimit is more rows than a page has.
const noLimit = 1 << 30

// EachDeadPage asks for page after page until there are no more, or limit rows have been
// found. ask returns how many it has found, the next cursor, and whether it was the last.
func EachDeadPage(ctx context.Context, limit int, page DeadPage, ask func(DeadPage) (found int64, cursor int64, end bool, err error)) error {
	page.After = BeforeAllIDs
	left := int64(noLimit)
	if limit > 0 {
		left = int64(limit)
	}
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		page.Most = int(min(left, int64(page.Rows)))
		found, cursor, end, err := ask(page)
		if err != nil || end {
			return err
		}
		page.After = cursor
		if limit > 0 {
			left -= found
		}
	}
	return nil
}
