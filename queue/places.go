package queue

import (
	"context"
	"net"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// PartitionPlace is where a partition lives, and how much work it has.
type PartitionPlace struct {
	Partition int
	Slot      int    // its slot of a cluster
	Node      string // the master that holds it; empty on a single server
	Waiting   int    // entries on its streams, and parked
}

// Places tells where each partition lives.
func (q *Queue) Places(ctx context.Context) ([]PartitionPlace, error) {
	lengths, err := q.lengths(ctx)
	if err != nil {
		return nil, err
	}
	places := make([]PartitionPlace, q.cfg.Partitions)
	for i, s := range q.streams {
		places[s.partition].Waiting += int(lengths[i])
	}
	for p := range places {
		places[p].Partition = p
		for _, parked := range []string{q.keys.later(p), q.keys.waiting(p)} {
			n, err := q.rdb.ZCard(ctx, parked).Result()
			if err != nil {
				return nil, unavailable(err)
			}
			places[p].Waiting += int(n)
		}
		if err := q.place(ctx, &places[p]); err != nil {
			return nil, err
		}
	}
	return places, nil
}

func (q *Queue) place(ctx context.Context, p *PartitionPlace) error {
	cluster, ok := q.rdb.(*redis.ClusterClient)
	if !ok {
		return nil
	}
	master, err := cluster.MasterForKey(ctx, q.keys.tag(p.Partition))
	if err != nil {
		return unavailable(err)
	}
	slot, err := cluster.ClusterKeySlot(ctx, q.keys.tag(p.Partition)).Result()
	if err != nil {
		return unavailable(err)
	}
	p.Node, p.Slot = master.Options().Addr, int(slot)
	return nil
}

// Move is a partition that would better live on another node.
type Move struct {
	Partition, Slot int
	From, To        string
}

// Rebalanced is the shortest list of moves after which no node holds two
// partitions more than another. nodes are all masters, those without a
// partition too. Of a node that gives, the busiest partitions go first.
func Rebalanced(places []PartitionPlace, nodes []string) (moves []Move) {
	held := map[string][]PartitionPlace{}
	for _, n := range nodes {
		held[n] = nil
	}
	for _, p := range places {
		held[p.Node] = append(held[p.Node], p)
	}
	for len(held) > 0 {
		from, to := extremes(held)
		if len(held[from])-len(held[to]) < 2 {
			break
		}
		i := busiest(held[from])
		p := held[from][i]
		held[from] = append(held[from][:i:i], held[from][i+1:]...)
		held[to] = append(held[to], p)
		moves = append(moves, Move{p.Partition, p.Slot, from, to})
	}
	return moves
}

// extremes are the nodes with the most and the fewest partitions; of several
// the first by name.
func extremes(held map[string][]PartitionPlace) (most, fewest string) {
	for n := range held {
		if most == "" || len(held[n]) > len(held[most]) || len(held[n]) == len(held[most]) && n < most {
			most = n
		}
		if fewest == "" || len(held[n]) < len(held[fewest]) || len(held[n]) == len(held[fewest]) && n < fewest {
			fewest = n
		}
	}
	return most, fewest
}

func busiest(places []PartitionPlace) (at int) {
	for i, p := range places {
		if p.Waiting > places[at].Waiting {
			at = i
		}
	}
	return at
}

// Masters are the addresses of a cluster's masters; none on a single server.
func (q *Queue) Masters(ctx context.Context) (nodes []string, err error) {
	cluster, ok := q.rdb.(*redis.ClusterClient)
	if !ok {
		return nil, nil
	}
	shards, err := cluster.ClusterShards(ctx).Result()
	if err != nil {
		return nil, unavailable(err)
	}
	for _, s := range shards {
		for _, n := range s.Nodes {
			if n.Role == "master" && n.Health == "online" {
				nodes = append(nodes, net.JoinHostPort(n.IP, strconv.FormatInt(n.Port, 10)))
			}
		}
	}
	return nodes, nil
}
