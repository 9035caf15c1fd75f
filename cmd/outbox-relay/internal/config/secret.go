package config

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted stands for a secret wherever one could be printed.
const redacted = "[redacted]"

// Secret is a text that nothing prints: not fmt with any verb, not slog, not
// JSON. Only [Secret.Reveal] gives it away.
type Secret struct {
	// A pointer, because fmt does not call methods on unexported fields: a Secret
	// inside somebody's unexported field prints as an address.
	text *string
	file string // where the text came from; empty: the environment
}

// NewSecret hides s.
func NewSecret(s string) Secret { return Secret{text: &s} }

// Reveal returns the text; empty for the zero value.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Reread returns what the text is now: that of its file, which somebody may have
// rotated, else the same as ever. An error names the file.
func (s Secret) Reread() (string, error) {
	if s.file == "" {
		return s.Reveal(), nil
	}
	text, err := readSecret(s.file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.file, err) // it is a path, and no secret: it was read before
	}
	return text, nil
}

// IsZero says that there is no text.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// String implements [fmt.Stringer]; an empty secret is shown as empty.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format implements [fmt.Formatter], for all verbs and flags.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements [encoding.TextMarshaler], and with it JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
