package queuetest_test

import (
	"testing"
	"time"

	"github.com/carillonhq/carillon/queue/queuetest"
)

// The cluster itself: what the other rooms' tests build on.
func TestAClusterKeepsItsDataThroughFailoversDeathsAndMigrations(t *testing.T) {
	began := time.Now()
	c := queuetest.StartCluster(t)
	t.Logf("up after %v", time.Since(began).Round(time.Millisecond))
	rdb := c.Client()
	keep := func(value string) {
		t.Helper()
		c.Await("a write", func() bool { return rdb.Set(t.Context(), "{a}:k", value, 0).Err() == nil })
		c.Await("a replica that has it", func() bool { return c.InStep("{a}:k") })
	}
	check := func(after, want string) {
		t.Helper()
		c.Await("an answer after "+after, func() bool { return rdb.Get(t.Context(), "{a}:k").Err() == nil })
		if got := rdb.Get(t.Context(), "{a}:k").Val(); got != want {
			t.Errorf("after %s the key holds %q, want %q", after, got, want)
		}
	}
	keep("1")
	before := c.MasterOf("{a}:k")
	c.Failover("{a}:k")
	if c.MasterOf("{a}:k") == before {
		t.Error("the failover changed nothing")
	}
	check("the failover", "1")
	keep("2")
	c.KillMaster("{a}:k")
	check("the death", "2")
	c.Heal()
	here := c.MasterOf("{a}:k")
	rdb.Set(t.Context(), "{a}:other", "x", 0)
	c.MigrateSlot("{a}:k", func() { check("half of the migration", "2") })
	if c.MasterOf("{a}:k") == here {
		t.Error("the migration moved nothing")
	}
	check("the migration", "2")
	t.Logf("all of it in %v", time.Since(began).Round(time.Millisecond))
}

func TestSentinelsPutTheReplicaInTheMastersPlace(t *testing.T) {
	s := queuetest.StartSentinels(t)
	first := s.Master()
	s.Failover()
	second := s.Master()
	if second == first {
		t.Error("the failover changed nothing")
	}
	s.KillMaster()
	if s.Master() == second {
		t.Error("the dead master is the master")
	}
}
