package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/schema"
)

// parse fills a [Config]. Where a value does not parse, its field is zero.
func parse(values map[string]string, required []string) (Config, Faults) {
	faults := checkOneOf(values)
	sound := make(map[string]string, len(values))
	for name, value := range values {
		if !faults.blames(name) {
			sound[name] = value
		}
	}
	var config Config
	err := env.ParseWithOptions(&config, env.Options{
		Environment: sound,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[schema.Table]():    parseTable,
			reflect.TypeFor[engine.Ordering](): parseOrdering,
		},
	})
	clearEmpty(&config, sound)
	return config, append(faults, translate(err, values, required)...)
}

// remember tells secrets the files that they came from, to be read again.
func remember(config *Config, files map[string]string) {
	for name, file := range files {
		v, _ := lookup(name)
		field := reflect.ValueOf(config).Elem().FieldByName(v.field)
		if secret, ok := reflect.TypeAssert[*Secret](field.Addr()); ok {
			secret.file = file
		}
	}
}

// clearEmpty sets what was given as empty, and may be, since the library gives it
// the default.
func clearEmpty(config *Config, values map[string]string) {
	for _, v := range variables {
		if value, given := values[v.Name]; given && value == "" && v.Empty {
			reflect.ValueOf(config).Elem().FieldByName(v.field).SetZero()
		}
	}
}

func checkOneOf(values map[string]string) Faults {
	var faults Faults
	for _, v := range variables {
		value, given := values[v.Name]
		if given && v.OneOf != nil && !slices.Contains(v.OneOf, value) {
			faults = append(faults, Fault{v.Name, v.show(value), "expected " + alternatives(v.OneOf)})
		}
	}
	return faults
}

// alternatives returns "a, b or c".
func alternatives(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// translate turns the library's errors, which name Go fields and quote values
// whether they are secret or not, into faults.
func translate(err error, values map[string]string, required []string) Faults {
	if err == nil {
		return nil
	}
	all, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		all.Errors = []error{err}
	}
	var faults Faults
	for _, err := range all.Errors {
		if missing, ok := errors.AsType[env.VarIsNotSetError](err); ok {
			if slices.Contains(required, missing.Key) {
				v, _ := lookup(missing.Key)
				faults = append(faults, Fault{Variable: v.Name, Problem: "is required: " + v.Description})
			}
			continue
		}
		wrong, ok := errors.AsType[env.ParseError](err)
		v, known := lookupField(wrong.Name)
		if !ok || !known {
			// Only a mistake in the tags of Config ends here; a test parses them all.
			faults = append(faults, Fault{Variable: prefix, Problem: err.Error()})
			continue
		}
		faults = append(faults, Fault{v.Name, v.show(values[v.Name]), expected(v, wrong.Err)})
	}
	return faults
}

// expected says what a value of this variable looks like. Our own types say so
// themselves.
func expected(v Variable, err error) string {
	switch v.kind {
	case reflect.TypeFor[int]():
		return fmt.Sprintf("expected a whole number, at most %d", math.MaxInt32)
	case reflect.TypeFor[float64]():
		return "expected a number, such as 100 or 0.5"
	case reflect.TypeFor[time.Duration]():
		return "expected a duration with its unit, such as 200ms, 30s, 5m or 24h"
	}
	return err.Error()
}
