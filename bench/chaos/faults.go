package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// poke injects one fault and mends it.
type poke func(*world)

// inFlight is what one consumer may have sent without its outcome being on
// record: its slots, and a commit beside.
const inFlight = 2 * concurrency

// killConsumer is kill -9 of any consumer, and its restart.
func killConsumer(w *world) {
	i := w.rng.IntN(len(w.consumers))
	w.consumers[i].kill()
	w.injected(inFlight)
	w.startConsumer(i)
}

// killIngest is kill -9 of the API, and its restart.
func killIngest(w *world) {
	w.ingest.kill()
	w.injected(0)
	w.ingest = w.startIngest()
}

// killRedis is kill -9 of a Redis that keeps what it acknowledges.
func killRedis(w *world) {
	w.redis.Kill()
	w.injected(0)
	w.rest(w.between(50*time.Millisecond, 500*time.Millisecond))
	w.redis.Restart()
}

// fsyncWindow is how much a Redis with appendfsync everysec may forget: it
// syncs once a second, and when that takes longer than a second it waits for
// it (redis.conf, "appendfsync everysec").
const fsyncWindow = 2 * time.Second

// killForgetfulRedis is kill -9 of a Redis that syncs its file every second.
func killForgetfulRedis(w *world) {
	w.redis.Kill()
	now := time.Now()
	w.injected(0)
	w.mayForget(window{now.Add(-fsyncWindow), now})
	w.redis.Restart()
}

// freezeRedis stops Redis with its connections open.
func freezeRedis(d time.Duration) poke {
	return func(w *world) {
		w.redis.Freeze()
		w.injected(0)
		w.rest(d)
		w.redis.Thaw()
	}
}

// cutStore cuts every connection to Redis, and refuses new ones for a while.
func cutStore(d time.Duration) poke {
	return func(w *world) { w.disturb(w.store, cut, d, 0) }
}

// swallowStore lets nothing through to Redis, on connections that stay open.
func swallowStore(d time.Duration) poke {
	return func(w *world) { w.disturb(w.store, swallows, d, 0) }
}

// cutStreet cuts the webhooks' connections: what was under way may have
// arrived, and nobody can know.
func cutStreet(d time.Duration) poke {
	return func(w *world) { w.disturb(w.street, cut, d, len(w.consumers)*concurrency) }
}

// swallowStreet lets nothing through to the receiver, or back from it.
func swallowStreet(d time.Duration) poke {
	return func(w *world) { w.disturb(w.street, swallows, d, len(w.consumers)*concurrency) }
}

func (w *world) disturb(p *proxy, mode int32, d time.Duration, duplicates int) {
	p.set(mode)
	w.injected(duplicates)
	w.rest(d)
	p.set(passes)
}

// dropReply swallows one reply after the command has run: of any script, of a
// read, or of one script by name, which is recognised when its source is sent
// because the server has forgotten it.
func dropReply(w *world) {
	asked := []string{"evalsha", "xreadgroup", "settle.lua", "plan.lua", "admit.lua", "claim.lua"}
	command := asked[w.rng.IntN(len(asked))]
	before := w.store.dropped.Load()
	if script, named := strings.CutSuffix(command, ".lua"); named {
		w.store.dropReplyTo(w.build.mark(w.stage, script))
		if err := w.rdb.ScriptFlush(w.ctx).Err(); err != nil {
			w.Errorf("SCRIPT FLUSH: %v", err)
		}
	} else {
		w.store.dropReplyTo([]byte(command))
	}
	w.injected(0)
	if !w.poll(replyLimit, func() bool { return w.store.dropped.Load() > before }) {
		w.Errorf("no reply to %s was there to be lost within %v", command, replyLimit)
	}
}

// replyLimit is how long it may take until a command is given under load.
const replyLimit = 10 * time.Second

// mark is what only the source of one script holds: its first line.
func (b build) mark(s *stage, script string) []byte {
	text, err := os.ReadFile(filepath.Join(b.root, "queue", script+".lua"))
	if err != nil {
		s.Fatalf("reading a script: %v", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return line
}

// destroyGroups removes every consumer group, and with them who holds what.
func destroyGroups(w *world) {
	keys, err := w.keys(w.ctx)
	if err != nil {
		w.Errorf("listing the streams: %v", err)
		return
	}
	w.injected(len(w.consumers) * inFlight)
	for key, kind := range keys {
		if kind != "stream" {
			continue
		}
		if err := w.rdb.XGroupDestroy(w.ctx, key, "carillon").Err(); err != nil {
			w.Errorf("XGROUP DESTROY %s: %v", key, err)
		}
	}
}

// flushScripts empties Redis' script cache.
func flushScripts(w *world) {
	w.injected(0)
	if err := w.rdb.ScriptFlush(w.ctx).Err(); err != nil {
		w.Errorf("SCRIPT FLUSH: %v", err)
	}
}

// flushAll takes everything: what was accepted is gone by definition.
func flushAll(w *world) {
	w.injected(len(w.consumers) * inFlight)
	if err := w.rdb.FlushAll(w.ctx).Err(); err != nil {
		w.Errorf("FLUSHALL: %v", err)
	}
	w.mayForget(window{to: time.Now()})
}

// misbehave lets a third of the receiver's answers be bad for a while.
func misbehave(d time.Duration) poke {
	return func(w *world) {
		kinds := behaviours()
		before := w.receiver.answeredWrong()
		count := 0
		w.receiver.misbehave(func() behaviour { // called one at a time
			count++
			if count%3 != 0 {
				return nil
			}
			return kinds[count/3%len(kinds)]
		})
		w.rest(d)
		w.receiver.misbehave(nil)
		// What it counted and did not say may be sent again, and be as unlucky.
		w.injected(w.receiver.answeredWrong() - before)
	}
}

// stopLimit is how long an orderly stop may take.
const stopLimit = 30 * time.Second

// roll restarts every consumer, one after the other, as a new release does.
func roll(w *world) {
	for i, c := range w.consumers {
		if err := c.stop(stopLimit); err != nil {
			w.Errorf("SIGTERM to consumer %d: %v", i, err)
		}
		w.injected(0)
		w.startConsumer(i)
		w.rest(w.between(100*time.Millisecond, 400*time.Millisecond))
	}
}

// somePartition is a key in the slot of any partition.
func (w *world) somePartition() string {
	return fmt.Sprintf("{%s:%d}:later", namespace, w.rng.IntN(partitions))
}

// failover has a replica take over from its master, as for maintenance.
func failover(w *world) {
	w.injected(0)
	w.cluster.Failover(w.somePartition())
}

// replicationLag is how much a master may have acknowledged that its replica
// has not: replication is asynchronous, and on loopback a matter of
// milliseconds.
const replicationLag = time.Second

// killMaster is kill -9 of a master, whose replica takes over.
func killMaster(w *world) {
	now := time.Now()
	w.injected(len(w.consumers) * inFlight)
	w.cluster.KillMaster(w.somePartition())
	w.mayForget(window{now.Add(-replicationLag), now.Add(replicationLag)})
	w.cluster.Heal()
}

// migrateSlot moves a partition's slot to another master, key by key.
func migrateSlot(w *world) {
	w.injected(0)
	w.cluster.MigrateSlot(w.somePartition(), nil)
}
