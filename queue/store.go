package queue

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/config"
)

// storeInfo is what one master says of how it keeps what it is told.
type storeInfo struct {
	evicts     string // its maxmemory-policy
	aof        bool
	saves      string // its save points; empty: none
	knowsSaves bool   // it may be asked for them
	memory     store
	failing    string // what keeps it from saving or appending; empty: nothing
}

// Warnings are the ways in which the server would lose what it was told, by
// name: a policy that evicts, no persistence, a disk that cannot be written, no
// bound of its memory.
// Every master of a cluster is asked; one that is away is the error, with what
// the others said. None of them keeps the queue from working.
func Warnings(ctx context.Context, rdb redis.UniversalClient, cfg config.Queue) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout/2)
	defer cancel()
	out := map[string]string{}
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		info, err := inspect(ctx, rdb)
		if err != nil {
			return out, err
		}
		info.warn(out, "the server", &cfg)
		return out, nil
	}
	var mu sync.Mutex
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		info, err := inspect(ctx, node)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		info.warn(out, node.Options().Addr, &cfg)
		return nil
	})
	return out, unavailableIf(err)
}

// inspect asks one master. A managed one may refuse CONFIG: what INFO leaves
// open is then not known.
func inspect(ctx context.Context, rdb redis.Cmdable) (storeInfo, error) {
	said, err := rdb.Info(ctx, "everything").Result()
	if err != nil {
		return storeInfo{}, unavailable(err)
	}
	info := storeInfo{evicts: infoField(said, "maxmemory_policy"), aof: infoField(said, "aof_enabled") == "1", memory: readStore(said)}
	switch {
	case infoField(said, "rdb_last_bgsave_status") == "err":
		info.failing = "its last snapshot failed"
	case infoField(said, "aof_last_write_status") == "err":
		info.failing = "its append-only file cannot be written"
	}
	if got, err := rdb.ConfigGet(ctx, "save").Result(); err == nil {
		info.saves, info.knowsSaves = got["save"], len(got) > 0
	}
	return info, nil
}

// infoField is one field of an INFO answer; empty when it is not there.
func infoField(said, name string) string {
	_, rest, ok := strings.Cut("\n"+said, "\n"+name+":")
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// warn adds what is wrong with a server to warnings, which several servers may
// share.
func (i storeInfo) warn(warnings map[string]string, who string, cfg *config.Queue) {
	if i.evicts != "" && i.evicts != "noeviction" {
		addWarning(warnings, "redis eviction", who, fmt.Sprintf(
			"evicts what was accepted when its memory is full (maxmemory-policy is %s): set maxmemory-policy to noeviction", i.evicts))
	}
	if !i.aof && i.knowsSaves && i.saves == "" {
		addWarning(warnings, "redis persistence", who, "keeps nothing on disk (save is empty, appendonly is no): "+
			withoutDisk(cfg.Durability)+": set appendonly to yes")
	}
	if i.memory.used > 0 && i.memory.most == 0 && cfg.MaxMemory.Percent > 0 {
		addWarning(warnings, "redis memory", who, fmt.Sprintf(
			"has no maxmemory, of which queue.max_memory is %v: nothing bounds what it takes, until the machine has no more: set maxmemory, or queue.max_memory to a size", cfg.MaxMemory))
	}
	if i.failing != "" {
		addWarning(warnings, "redis disk", who, i.failing+": look at its log and its disk")
	}
}

// withoutDisk is what a 202 is worth where nothing is kept on disk.
func withoutDisk(d config.Durability) string {
	switch d {
	case config.DurabilityReplica:
		return "a 202 outlives this server alone, and not its replica's end as well"
	case config.DurabilityDisk:
		return "queue.durability: disk cannot be kept, and every admission is answered with 503"
	}
	return "what was accepted is gone when it restarts"
}

func addWarning(warnings map[string]string, name, who, what string) {
	if before, ok := warnings[name]; ok {
		warnings[name] = before + "; " + who + " too"
		return
	}
	warnings[name] = who + " " + what
}
