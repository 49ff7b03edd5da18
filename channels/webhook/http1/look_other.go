//go:build !unix

package http1

// quiet cannot be told here without reading: a connection that was closed
// while it was idle is found when it is used.
func (c *conn) quiet() bool { return true }
