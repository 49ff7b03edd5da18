package main

import "strings"

// storeMend is what to do about a Redis that did not do what was asked of it:
// it says in its first word what was wrong.
func storeMend(err error) string {
	const late = "it did not answer in time: is it busy, and is redis.url right, redis:// or rediss:// too?"
	said := err.Error()
	for _, known := range []struct{ word, mend string }{
		{"NOAUTH", "give the server's password in redis.url, as redis://:PASSWORD@host:6379/0"},
		{"WRONGPASS", "check the user and the password in redis.url"},
		{"invalid password", "check the password in redis.url"},
		{"called without any password configured", "take the password out of redis.url, or set one at the server"},
		{"NOPERM", "allow redis.url's user the keys that begin with queue.namespace, with and without { before it, and all commands on them (ACL SETUSER)"},
		{"DB index is out of range", "end redis.url with /0: the server has no database of that number"},
		{"can't parse", "what answers there is no Redis: check the host and the port in redis.url"},
		{"no such host", "check the host in redis.url"},
		{"certificate", "check that redis.url's rediss:// is meant, and that its host is in the server's certificate"},
		{"first record does not look like a TLS handshake", "the server speaks no TLS at this port: write redis:// in redis.url"},
		{"timeout", late},
		{"deadline exceeded", late},
	} {
		if strings.Contains(said, known.word) {
			return known.mend
		}
	}
	return "is redis.url right, and does the server run?"
}
