package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// mapEvery is how often the map of a cluster's slots is read anew when nothing
// has gone wrong. go-redis would keep it for a minute, and dial a dead master
// for as long.
const mapEvery = 10 * time.Second

// connectCluster opens a client of a Redis Cluster. It follows slots to their
// nodes (MOVED, ASK) and tries again what a node refused without doing it
// (TRYAGAIN, CLUSTERDOWN, LOADING). Scripts and reads in a pipeline are also
// sent again when a connection fails, and may be; a single command is not.
func connectCluster(opts *redis.UniversalOptions) *redis.ClusterClient {
	o := opts.Cluster()
	o.ClusterStateReloadInterval = mapEvery
	c := redis.NewClusterClient(o)
	c.OnNewNode(func(node *redis.Client) { node.AddHook(nodeHook{c.ReloadState}) })
	return c
}

// nodeHook watches the commands of one node. A connection that fails may mean
// that the node is dead and a replica takes its place, so the map is read anew.
//
// For a single command it also takes the error's nature away, by which go-redis
// would send it up to three times more. The entries that a repeated XREADGROUP
// leased the first time would be nobody's: no error, and no lease that anyone
// knows of.
type nodeHook struct{ reload func(context.Context) }

// DialHook implements redis.Hook.
func (nodeHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (h nodeHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if !isConnection(err) {
			return err
		}
		h.reload(ctx)
		err = fmt.Errorf("%w: %s", ErrUnavailable, err.Error())
		cmd.SetErr(err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h nodeHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if isConnection(err) {
			h.reload(ctx)
		}
		return err
	}
}

// isConnection reports whether err is of the connection, not the server's
// answer.
func isConnection(err error) bool {
	return err != nil && !errors.As(err, new(redis.Error))
}

// nodes are the clients that calls go to, each with its own: one on a single
// server, on a cluster the masters of the calls' slots as far as is known.
func (q *Queue) nodes(ctx context.Context, calls []*call) (map[redis.UniversalClient][]*call, error) {
	cluster, ok := q.rdb.(*redis.ClusterClient)
	if !ok {
		return map[redis.UniversalClient][]*call{q.rdb: calls}, nil
	}
	out := map[redis.UniversalClient][]*call{}
	for _, c := range calls {
		node, err := cluster.MasterForKey(ctx, c.keys[0])
		if err != nil {
			return nil, fmt.Errorf("finding the master of a slot: %w", err)
		}
		out[node] = append(out[node], c)
	}
	return out, nil
}

// forgetMap has the map of a cluster's slots read anew, because a node refused
// a slot as another's.
func (q *Queue) forgetMap(ctx context.Context) {
	if cluster, ok := q.rdb.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}
