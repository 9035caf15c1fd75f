package link

import (
	"errors"
	"io"
	"net"
	"testing"
)

func TestFirstByteIsJudgedBeforeItIsWritten(t *testing.T) {
	for text, encrypted := range map[string]bool{"CONNECT {\"pass\":\"secret\"}": false, "\x16\x03\x01": true} {
		for _, verdict := range []error{nil, errors.New("no")} {
			client, server := net.Pipe()
			judged := 0
			conn := JudgeFirstByte(client, func(is bool) error {
				if judged++; is != encrypted {
					t.Errorf("%q: encrypted: %v", text, is)
				}
				return verdict
			})
			heard := make(chan string)
			go func() {
				all, _ := io.ReadAll(server)
				heard <- string(all)
			}()
			want := ""
			for range 2 {
				if _, err := conn.Write(nil); err != nil && judged == 0 {
					t.Error("nothing was written, and judged")
				}
				if _, err := conn.Write([]byte(text)); !errors.Is(err, verdict) {
					t.Errorf("write says %v, want %v", err, verdict)
				}
				if verdict == nil {
					want += text
				}
			}
			client.Close()
			if got := <-heard; got != want {
				t.Errorf("the other side heard %q, want %q", got, want)
			}
			if judged != 1 {
				t.Errorf("judged %d times", judged)
			}
			server.Close()
		}
	}
}
