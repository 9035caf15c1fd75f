package main

import (
	"encoding/json"
	"io"
)

// printJSON prints one result, to be read by people too.
func printJSON(w io.Writer, v any) error {
	encoder := jsonLines(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// jsonLines prints an object a line.
func jsonLines(w io.Writer) *json.Encoder {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder
}
