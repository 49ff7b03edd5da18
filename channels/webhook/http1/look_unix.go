//go:build unix

package http1

import "syscall"

// quiet reports whether an idle connection is still open and nothing has come
// over it. A receiver that closed it has sent an end or a reset, over TLS an
// alert; whatever else comes unasked is no answer to the next request. It waits
// for nothing, since Go's sockets do not block.
func (c *conn) quiet() bool {
	if c.socket == nil {
		return true
	}
	open := false
	err := c.socket.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), c.peeked[:], syscall.MSG_PEEK)
		open = err == syscall.EAGAIN || err == syscall.EINTR
		return true
	})
	return err == nil && open
}
