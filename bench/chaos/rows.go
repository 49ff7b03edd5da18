package main

import "time"

// row is one class of fault, or a mix.
type row struct {
	name  string
	what  string // in a few words
	short bool   // part of the short form
	setup setup
	terms terms
	every time.Duration // from the end of one fault to the next
	once  bool          // one fault in the middle
	pokes []poke        // one of them at random, each time
	play  func(*world)  // in place of pokes
	check func(*world)  // after the drain
}

// durable is a Redis that answers once what it says is on its disk.
func durable() []string { return []string{"--appendonly", "yes", "--appendfsync", "always"} }

func everySecond() []string { return []string{"--appendonly", "yes", "--appendfsync", "everysec"} }

// rows is the whole table.
func rows() []row {
	return []row{
		{name: "kill-consumer", what: "kill -9 of a consumer each 300 ms", short: true,
			setup: setup{consumers: 3}, every: 300 * time.Millisecond, pokes: []poke{killConsumer}},
		{name: "kill-ingest", what: "kill -9 of the API in mid-batch",
			setup: setup{consumers: 2}, every: 500 * time.Millisecond, pokes: []poke{killIngest}},
		{name: "redis-everysec", what: "Redis killed -9, AOF everysec",
			setup: setup{consumers: 2, redis: everySecond()}, every: 5 * time.Second, pokes: []poke{killForgetfulRedis}},
		{name: "redis-always", what: "Redis killed -9, AOF always", short: true,
			setup: setup{consumers: 2, redis: durable()}, every: 2 * time.Second, pokes: []poke{killRedis}},
		{name: "redis-frozen", what: "Redis stopped (SIGSTOP) for 10 s",
			setup: setup{consumers: 2}, once: true, pokes: []poke{freezeRedis(10 * time.Second)}},
		{name: "redis-cut", what: "network to Redis cut for a second",
			setup: setup{consumers: 2}, every: 2 * time.Second, pokes: []poke{cutStore(time.Second)}},
		{name: "redis-half-open", what: "packets to Redis swallowed for 5 s",
			setup: setup{consumers: 2}, every: 4 * time.Second, pokes: []poke{swallowStore(5 * time.Second)}},
		{name: "receiver-cut", what: "network to the receiver cut or swallowed",
			setup: setup{consumers: 2}, every: time.Second, pokes: []poke{cutStreet(500 * time.Millisecond), swallowStreet(2 * time.Second)}},
		{name: "lost-replies", what: "replies to reads and scripts lost", short: true,
			setup: setup{consumers: 2}, every: 50 * time.Millisecond, pokes: []poke{dropReply},
			check: func(w *world) { w.notef("%d replies swallowed", w.store.dropped.Load()) }},
		{name: "groups", what: "XGROUP DESTROY on all, SCRIPT FLUSH", short: true,
			setup: setup{consumers: 2}, every: time.Second, pokes: []poke{destroyGroups, flushScripts}},
		{name: "flushall", what: "FLUSHALL",
			setup: setup{consumers: 2}, once: true, pokes: []poke{flushAll}},
		{name: "disk-full", what: "no space for Redis' AOF", setup: setup{consumers: 2, redis: everySecond(), smallDisk: true}, play: fillDisk},
		{name: "receiver", what: "receivers hang, reset, answer late or garbage",
			setup: setup{consumers: 2}, every: time.Second, pokes: []poke{misbehave(5 * time.Second)}},
		{name: "rolling", what: "SIGTERM to all consumers, one by one", short: true,
			setup: setup{consumers: 3, visibility: time.Minute}, terms: terms{longest: 30 * time.Second}, every: 500 * time.Millisecond, pokes: []poke{roll}},
		{name: "clock", what: "a consumer's clock an hour ahead, then behind", setup: setup{consumers: 2, clock: true}, play: stepClock},
		{name: "cluster-failover", what: "a cluster's replica takes over, in agreement",
			setup: setup{consumers: 2, cluster: true}, every: time.Second, pokes: []poke{failover}},
		{name: "cluster-killed", what: "a cluster's master killed -9",
			setup: setup{consumers: 2, cluster: true}, once: true, pokes: []poke{killMaster}},
		{name: "cluster-migration", what: "a partition's slot moves to another master",
			setup: setup{consumers: 2, cluster: true}, every: time.Second, pokes: []poke{migrateSlot}},
		{name: "random", what: "a mix of the above, by the seed", short: true,
			setup: setup{consumers: 3, redis: durable()}, every: 400 * time.Millisecond, pokes: mix()},
	}
}

// mix is what the random row draws from: what costs no acknowledged write.
func mix() []poke {
	return []poke{
		killConsumer, killConsumer, killConsumer, killIngest, killRedis, freezeRedis(time.Second),
		cutStore(300 * time.Millisecond), swallowStore(1500 * time.Millisecond), cutStreet(200 * time.Millisecond), swallowStreet(time.Second),
		dropReply, dropReply, dropReply, destroyGroups, flushScripts, misbehave(time.Second), roll,
	}
}
