package link

import "net"

// handshakeRecord is the first byte of a TLS connection.
const handshakeRecord = 0x16

// JudgeFirstByte is for a client library that decides by itself whether it encrypts. It
// calls judge with the first byte that the library is about to write, which says whether
// it has, and before that byte is written: so nothing secret was. If judge returns an
// error, nothing is ever written. Writes come one after the other.
func JudgeFirstByte(conn net.Conn, judge func(encrypted bool) error) net.Conn {
	return &judgedConn{Conn: conn, judge: judge}
}

type judgedConn struct {
	net.Conn
	judge  func(encrypted bool) error
	judged bool
	err    error // what judge said
}

// Write implements net.Conn.
func (c *judgedConn) Write(p []byte) (int, error) {
	if !c.judged && len(p) > 0 {
		c.judged, c.err = true, c.judge(p[0] == handshakeRecord)
	}
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Write(p)
}
