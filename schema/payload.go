package schema

import "fmt"

// PayloadType is the type of the payload column.
type PayloadType string

// The payload types. json keeps the bytes that the application wrote; jsonb
// does not (it sorts keys and drops spaces), and is for applications that query
// their outbox; text and bytea are for other formats.
const (
	PayloadJSON  PayloadType = "json"
	PayloadJSONB PayloadType = "jsonb"
	PayloadText  PayloadType = "text"
	PayloadBytea PayloadType = "bytea"
)

// ParsePayloadType reads a payload type.
func ParsePayloadType(s string) (PayloadType, error) {
	switch p := PayloadType(s); p {
	case PayloadJSON, PayloadJSONB, PayloadText, PayloadBytea:
		return p, nil
	}
	return "", fmt.Errorf("payload type %q is unknown: choose json, jsonb, text or bytea", s)
}
