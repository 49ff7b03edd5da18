package mailbox

import (
	"io"
	"net"
	"sync"
	"time"
)

// limited is a listener that turns connections away when there are too many at
// once, of everybody or of one host, in place of letting them wait.
type limited struct {
	net.Listener
	most, mostOfHost int

	mu    sync.Mutex
	all   int
	hosts map[string]int
}

// hostShare is the part of all connections that one host may have.
const hostShare = 4

func limit(l net.Listener, most int) *limited {
	return &limited{Listener: l, most: most, mostOfHost: max(1, most/hostShare), hosts: map[string]int{}}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err != nil {
			host = conn.RemoteAddr().String()
		}
		if l.enter(host) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { l.leave(host) })}, nil
		}
		turnAway(conn)
	}
}

// turnAway says why, as RFC 5321 §3.8 has it. The words fit the socket's
// buffer, so nothing waits for who does not read.
func turnAway(conn net.Conn) {
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(conn, "421 4.7.0 Too many connections, come again later\r\n")
	_ = conn.Close()
}

func (l *limited) enter(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= l.most || l.hosts[host] >= l.mostOfHost {
		return false
	}
	l.all++
	l.hosts[host]++
	return true
}

func (l *limited) leave(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.hosts[host]--; l.hosts[host] == 0 {
		delete(l.hosts, host)
	}
}

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
