package relay

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// maxKeyName is the longest key, in bytes, that is its own name.
const maxKeyName = 64

// keyNamePrefix begins the name of a longer key.
const keyNamePrefix = "sha256:"

// KeyName is a key as it is compared and kept: the key itself up to 64 bytes, a digest
// of a longer one. So the memory for many keys is bounded. The name of a name is that
// name.
//
// Two keys have one name only where one was made to look like the digest of the
// other. Then they wait for each other, and nothing else happens. The SQL of
// relay/postgres has the same rule (parts.sql).
func KeyName(key string) string {
	if len(key) <= maxKeyName || len(key) == len(keyNamePrefix)+2*sha256.Size && strings.HasPrefix(key, keyNamePrefix) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return keyNamePrefix + hex.EncodeToString(sum[:])
}

// KeyName is the name of the message's key.
func (m *Message) KeyName() string {
	if m.keyName != "" {
		return m.keyName
	}
	return KeyName(m.Key)
}
