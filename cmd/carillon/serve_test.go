package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The bounds of the servers themselves, which no handler sees.
func TestAServerRefusesHeadersWithoutEnd(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	at := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, time.Second, func(a []string) { at <- a[0] },
			listener{"the test", "test.listen", "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })})
	}()
	address := <-at
	for says, tc := range map[string]struct {
		header string
		status int
	}{
		"one long line":    {"X-Long: " + strings.Repeat("x", 80<<10) + "\r\n", http.StatusRequestHeaderFieldsTooLarge},
		"many short lines": {strings.Repeat("X-Many: x\r\n", 8<<10), http.StatusRequestHeaderFieldsTooLarge},
		"what is usual":    {strings.Repeat("X-Many: x\r\n", 100), http.StatusOK},
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		go io.WriteString(conn, "GET / HTTP/1.1\r\nHost: g\r\n"+tc.header+"\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", says, err)
		}
		res.Body.Close()
		conn.Close()
		if res.StatusCode != tc.status {
			t.Errorf("%s: %d, want %d", says, res.StatusCode, tc.status)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
