package testbed

import (
	"io"
	"os"
	"strings"
)

// Tail returns the last bytes of a server's log for an error message, from the
// start of a line, or why it cannot be read.
func Tail(path string) string {
	const most = 4096
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, size-most), most))
	if err != nil {
		return err.Error()
	}
	tail := string(text)
	if size > most {
		_, tail, _ = strings.Cut(tail, "\n")
	}
	return strings.TrimSpace(tail)
}
