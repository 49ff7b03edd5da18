package main

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
)

// proxy stands between two programs and does to their connections what
// networks do.
type proxy struct {
	address string
	target  atomic.Pointer[string]
	mode    atomic.Int32
	dropped atomic.Int64 // replies swallowed on request

	mu    sync.Mutex
	links map[*link]bool
	armed []byte // the reply to the next request that holds this is swallowed; nil: none
}

// What a proxy does to the bytes.
const (
	passes   int32 = iota
	cut            // connections are closed, and new ones at once
	swallows       // nothing arrives, on connections that stay open and never recover
)

// link is one connection through the proxy.
type link struct {
	p              *proxy
	client, server net.Conn
	dead           atomic.Bool // bytes were swallowed: nothing may pass any more
	mute           atomic.Bool // the next reply is swallowed and the connection closed
}

func newProxy(s *stage, target string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatalf("a proxy: %v", err)
	}
	p := &proxy{address: l.Addr().String(), links: map[*link]bool{}}
	p.target.Store(&target)
	go p.serve(l)
	s.Cleanup(func() {
		l.Close()
		p.closeAll()
	})
	return p
}

func (p *proxy) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return // closed
		}
		go p.connect(client)
	}
}

func (p *proxy) connect(client net.Conn) {
	if p.mode.Load() == cut {
		client.Close()
		return
	}
	server, err := net.Dial("tcp", *p.target.Load())
	if err != nil {
		client.Close()
		return
	}
	k := &link{p: p, client: client, server: server}
	p.mu.Lock()
	p.links[k] = true
	p.mu.Unlock()
	go k.pump(server, client, k.request)
	k.pump(client, server, k.reply)
}

// pump copies until either end closes; pass says whether a chunk may go on.
func (k *link) pump(to, from net.Conn, pass func([]byte) bool) {
	defer k.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && pass(buf[:n]) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil || k.p.mode.Load() == cut {
			return
		}
	}
}

// request passes what the client says on, and watches for what is armed.
func (k *link) request(chunk []byte) bool {
	if k.swallowed() {
		return false
	}
	if k.p.takeArmed(chunk) {
		k.mute.Store(true)
	}
	return true
}

// reply passes what the server says on, unless nobody is to hear it.
func (k *link) reply([]byte) bool {
	if k.mute.Load() {
		k.p.dropped.Add(1)
		k.close()
		return false
	}
	return !k.swallowed()
}

// swallowed reports whether a chunk is lost. A connection that has lost one
// never carries another: TCP has no gaps.
func (k *link) swallowed() bool {
	if k.p.mode.Load() == swallows {
		k.dead.Store(true)
	}
	return k.dead.Load()
}

func (k *link) close() {
	k.client.Close()
	k.server.Close()
	k.p.mu.Lock()
	delete(k.p.links, k)
	k.p.mu.Unlock()
}

// set changes what becomes of bytes from now on.
func (p *proxy) set(mode int32) {
	p.mode.Store(mode)
	if mode == cut {
		p.closeAll()
	}
}

func (p *proxy) closeAll() {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for k := range p.links {
		links = append(links, k)
	}
	p.mu.Unlock()
	for _, k := range links {
		k.close()
	}
}

// dropReplyTo swallows the reply to the next request that holds these bytes,
// and closes its connection: the command has run, and nobody knows.
func (p *proxy) dropReplyTo(marked []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = marked
}

func (p *proxy) takeArmed(chunk []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed == nil || !bytes.Contains(chunk, p.armed) {
		return false
	}
	p.armed = nil
	return true
}
