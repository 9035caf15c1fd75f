package faultproxy

import (
	"bytes"
	"testing"
)

// FuzzScannerFindsWhatBytesIndexFinds cuts a stream into reads of any size and
// compares with a search in the whole of it.
func FuzzScannerFindsWhatBytesIndexFinds(f *testing.F) {
	f.Add([]byte("xxPOISONyy"), []byte("POISON"), uint8(3))
	f.Add([]byte("aaab"), []byte("aab"), uint8(1))
	f.Add([]byte("abababc"), []byte("ababc"), uint8(2))
	f.Add([]byte("none here"), []byte("x"), uint8(4))
	f.Fuzz(func(t *testing.T, stream, pattern []byte, size uint8) {
		if len(pattern) == 0 || size == 0 {
			return
		}
		var s scanner
		passed := 0
		for rest := stream; len(rest) > 0; {
			b := rest[:min(len(rest), int(size))]
			rest = rest[len(b):]
			n, found := s.scan(b, pattern)
			passed += n
			if !found {
				if n != len(b) {
					t.Fatalf("%d of %d bytes pass though nothing was found", n, len(b))
				}
				continue
			}
			// Bytes of the pattern that came in earlier reads have passed already.
			at := bytes.Index(stream, pattern)
			if at < 0 || passed < at || passed >= at+len(pattern) {
				t.Fatalf("found after %d bytes, the pattern is at %d", passed, at)
			}
			return
		}
		if at := bytes.Index(stream, pattern); at >= 0 {
			t.Fatalf("not found, the pattern is at %d", at)
		}
	})
}
