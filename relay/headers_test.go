package relay

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParseHeaders(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []Header
		err  string
	}{
		{in: ""},
		{in: `{}`},
		{in: `{"a": "1"}`, want: []Header{{Name: "a", Value: "1"}}},
		{in: `{"b": "", "a": "x, y: z"}`, want: []Header{{Name: "a", Value: "x, y: z"}, {Name: "b", Value: ""}}},
		{in: `{"a": "\\\"\u00e9\ud83d\ude00\n"}`, want: []Header{{Name: "a", Value: "\\\"é😀\n"}}},
		{in: `null`},
		{in: `[]`},
		{in: `["a"]`, err: "headers are an array, not an object of strings"},
		{in: `{"a": null}`, err: `header "a" is null, not a string`},
		{in: `12`, err: "headers are a number"},
		{in: `true`, err: "headers are a boolean"},
		{in: `{"a": "1", "b": {"c": 1}}`, err: `header "b" is an object, not a string`},
		{in: `{"a": ["1"]}`, err: `header "a" is an array, not a string`},
		{in: `{"a": false}`, err: `header "a" is a boolean, not a string`},
		{in: `{"` + strings.Repeat("n", 500) + `": 1}`, err: `header "` + strings.Repeat("n", 100) + `"… (500 bytes) is a number`},
		{in: `{"a": "1"`, err: "headers are not JSON"},
	} {
		got, err := ParseHeaders([]byte(c.in))
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)) {
			t.Errorf("%s: error %v, want %q", c.in, err, c.err)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.in, got, c.want)
		}
	}
}

// Whatever encoding/json takes for an object of strings without repeated names
// is read the same here, and nothing else is taken.
func FuzzParseHeaders(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a": "1", "b": "2"}`, `{"a":"\u0041\\","":""}`, ` {"a" : "b" } `, `{"a": 1}`, `[]`, `"`, `{"a": "b"}x`, `{"a":"b",}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		headers, err := ParseHeaders(in)
		var want map[string]string
		if json.Unmarshal(in, &want) != nil || len(in) == 0 || in[0] != '{' {
			return // must not panic; jsonb never brings it
		}
		if strings.Contains(string(in), "null") || len(headers) != len(want) {
			return // json takes null for a string, and the last of repeated names
		}
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		got := make(map[string]string)
		for _, h := range headers {
			// encoding/json replaces invalid UTF-8, which jsonb cannot hold.
			got[strings.ToValidUTF8(h.Name, "\ufffd")] = strings.ToValidUTF8(h.Value, "\ufffd")
		}
		for name, value := range want {
			want[name] = strings.ToValidUTF8(value, "\ufffd")
		}
		if !utf8Only(in) {
			return
		}
		if !maps.Equal(got, want) {
			t.Fatalf("%q: %q, want %q", in, got, want)
		}
		if !slices.IsSortedFunc(headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) }) {
			t.Fatalf("%q: %q is not sorted", in, headers)
		}
	})
}

func utf8Only(b []byte) bool { return strings.ToValidUTF8(string(b), "") == string(b) }

func TestTraceparent(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for value, valid := range map[string]bool{
		good: true, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00": true,
		"cc" + good[2:]: true, "cc" + good[2:] + "-what the future brings": true, "cc" + good[2:] + ".x": false,
		good + "-x": false, "ff" + good[2:]: false, strings.ToUpper(good): false, "": false, "00": false, good[:54]: false,
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": false,
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": false,
		"0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01": false,
		"00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-0":  false,
	} {
		id, note := TraceOf([]Header{{Name: "Traceparent", Value: value}})
		if (id != TraceID{}) != valid || (note == "") != valid || len(value) > 10 && strings.Contains(note, value) {
			t.Errorf("%q: trace %x, note %q", value, id, note)
		}
	}
}
