package main

import (
	"fmt"
	"slices"
	"strings"
)

// runsCompared is how many earlier runs a ratio is compared with. Their median counts, so
// that one lucky run makes no later one look bad.
const runsCompared = 5

// fallenTo is what is left of a ratio that has fallen too far: a fifth is gone.
const fallenTo = 0.8

// fall is a ratio that has become worse.
type fall struct {
	name        string
	now, before float64
	runs        int // how many earlier runs before is the median of
}

func (f fall) String() string {
	return fmt.Sprintf("%s is %.2f, and was %.2f (median of the last %d runs)", f.name, f.now, f.before, f.runs)
}

// falls returns the ratios of a run that are worse by a fifth than those of the runs before
// it with as many cores. Only ratios are compared: a rate depends on the machine.
func falls(this run, before []run) []fall {
	var found []fall
	for name, now := range this.Figures {
		kind := kindOf(name)
		if kind == noRatio {
			continue
		}
		past := values(alike(before, this.Cores), name)
		if len(past) == 0 {
			continue
		}
		middle := median(past)
		if kind == higherIsBetter && now < fallenTo*middle || kind == lowerIsBetter && now > middle/fallenTo {
			found = append(found, fall{name: name, now: now, before: middle, runs: len(past)})
		}
	}
	slices.SortFunc(found, func(a, b fall) int { return strings.Compare(a.name, b.name) })
	return found
}

// alike returns the runs on machines with so many cores. On more of them the broker and the
// relay take less from each other.
func alike(runs []run, cores int) []run {
	return slices.DeleteFunc(slices.Clone(runs), func(r run) bool { return r.Cores != cores })
}

// values are those of the last runs that have the figure.
func values(runs []run, name string) []float64 {
	var found []float64
	for _, r := range slices.Backward(runs) {
		if v, ok := r.Figures[name]; ok && len(found) < runsCompared {
			found = append(found, v)
		}
	}
	return found
}

// median of an even number of values is the lower one of the two in the middle.
func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[(len(sorted)-1)/2]
}

// ratioKind says what a figure is, by its name.
type ratioKind uint8

const (
	noRatio        ratioKind = iota // or one of few samples, such as the worst round
	higherIsBetter                  // a rate, as a share of another
	lowerIsBetter                   // a latency, as a multiple of another
)

var ratioKindNames = [...]string{"no ratio", "higher is better", "lower is better"}

// String returns the kind in lower case.
func (k ratioKind) String() string { return ratioKindNames[k] }

func kindOf(name string) ratioKind {
	switch {
	case !slices.Contains(strings.Split(name, "_"), "ratio"), strings.HasSuffix(name, "_min"), strings.HasSuffix(name, "_p99"):
		return noRatio
	case strings.HasSuffix(name, "_p50"):
		return lowerIsBetter
	}
	return higherIsBetter
}
