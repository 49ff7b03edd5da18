package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// onStage runs a test on a stage of its own.
func onStage(t *testing.T, play func(*stage)) {
	t.Helper()
	if err := perform(t.Context(), "test", play); err != nil {
		t.Error(err)
	}
}

// echo answers each line with itself, and tells of each line that it heard.
func echo(s *stage) (address string, heard chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { l.Close() })
	heard = make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					heard <- lines.Text()
					fmt.Fprintln(c, lines.Text())
				}
			}()
		}
	}()
	return l.Addr().String(), heard
}

// ask sends a line and returns the answer.
func ask(t *testing.T, c net.Conn, line string, limit time.Duration) (string, error) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

// TestTheProxyDoesWhatNetworksDo holds each mode against an echo.
func TestTheProxyDoesWhatNetworksDo(t *testing.T) {
	t.Parallel()
	const soon, long = 200 * time.Millisecond, 20 * time.Second
	onStage(t, func(s *stage) {
		address, heard := echo(s)
		p := newProxy(s, address)
		dial := func() net.Conn {
			c, err := net.Dial("tcp", p.address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		c := dial()
		if got, err := ask(t, c, "hello", long); got != "hello\n" || err != nil {
			t.Fatalf("passing: %q, %v", got, err)
		}
		<-heard

		p.dropReplyTo([]byte("secret"))
		if got, err := ask(t, c, "my secret", long); err != io.EOF {
			t.Errorf("a dropped reply: %q, %v, want the connection's end", got, err)
		}
		if got := <-heard; got != "my secret" || p.dropped.Load() != 1 {
			t.Errorf("the server heard %q, and %d replies were dropped, want the request and 1", got, p.dropped.Load())
		}

		c = dial()
		if _, err := ask(t, c, "before", long); err != nil {
			t.Fatal(err)
		}
		<-heard
		p.set(swallows)
		if got, err := ask(t, c, "into the void", soon); !isTimeout(err) {
			t.Errorf("swallowing: %q, %v, want no answer and no end", got, err)
		}
		p.set(passes)
		if got, err := ask(t, c, "after it", soon); !isTimeout(err) {
			t.Errorf("a connection with a gap: %q, %v, want nothing ever again", got, err)
		}
		if len(heard) > 0 {
			t.Errorf("the server heard %q", <-heard)
		}

		c = dial()
		if _, err := ask(t, c, "again", long); err != nil {
			t.Fatal(err)
		}
		p.set(cut)
		if got, err := ask(t, c, "cut", long); err == nil || isTimeout(err) {
			t.Errorf("a cut connection: %q, %v, want its end", got, err)
		}
		if got, err := ask(t, dial(), "refused", long); err == nil || isTimeout(err) {
			t.Errorf("a new connection while cut: %q, %v, want its end", got, err)
		}
	})
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}
