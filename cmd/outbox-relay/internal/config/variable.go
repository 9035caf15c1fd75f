package config

import (
	"reflect"
	"strings"
)

// Variable describes one environment variable, for people.
type Variable struct {
	Name        string
	Default     string // as people read it: "required", a value, or empty
	Description string
	// Secret variables also have a _FILE form.
	Secret bool
	// OneOf are the values allowed; nil where there are other rules.
	OneOf []string

	// Empty is a value of its own, not the default.
	Empty bool
	field string
	kind  reflect.Type
}

var variables = describe(reflect.TypeFor[Config]())

// Table returns all variables in the order of [Config].
func Table() []Variable { return variables }

func describe(t reflect.Type) []Variable {
	var all []Variable
	for _, field := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(field.Tag.Get("env"), ",")
		if name == "" {
			continue // a part of the configuration, or computed
		}
		v := Variable{
			Name:        name,
			Default:     field.Tag.Get("envDefault"),
			Description: field.Tag.Get("doc"),
			Secret:      field.Type == reflect.TypeFor[Secret](),
			Empty:       field.Tag.Get("empty") == "value",
			field:       field.Name,
			kind:        field.Type,
		}
		if options == "required" {
			v.Default = "required"
		}
		if shown := field.Tag.Get("shown"); shown != "" {
			v.Default = shown
		}
		if oneOf := field.Tag.Get("oneof"); oneOf != "" {
			v.OneOf = strings.Split(oneOf, "|")
		}
		all = append(all, v)
	}
	return all
}

// fileSuffix makes the name of the variable that holds a file's path.
const fileSuffix = "_FILE"

// lookup finds a variable by name.
func lookup(name string) (Variable, bool) {
	return find(func(v Variable) bool { return v.Name == name })
}

// lookupField finds a variable by the field that holds it.
func lookupField(field string) (Variable, bool) {
	return find(func(v Variable) bool { return v.field == field })
}

func find(wanted func(Variable) bool) (Variable, bool) {
	for _, v := range variables {
		if wanted(v) {
			return v, true
		}
	}
	return Variable{}, false
}

// show returns a value of this variable as far as it may be shown.
func (v Variable) show(value string) string {
	if v.Secret {
		return redacted
	}
	return show(value)
}
