// Package archive follows what has ended on the queue, and keeps it as lines
// of JSON in one file an hour. Each final state is written once, whenever the
// process is killed: what was written beyond the last stored position is cut
// off again before anything is added.
package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/carillonhq/carillon/queue"
)

// Source is where final states come from; *queue.Queue is one.
type Source interface {
	// Finals reads one partition after a mark.
	Finals(ctx context.Context, partition int, after queue.Mark, most int) (queue.Finals, error)
}

// Options is what an Archive works with. All but Every are required.
type Options struct {
	Dir        string // made when it is missing
	Namespace  string // the queue's: another's folder is refused
	Partitions int
	Source     Source
	Every      time.Duration // how long to wait when there is nothing new; 0: a second
	Log        *slog.Logger
}

// Totals is what an Archive has done since its folder was begun.
type Totals struct {
	Written   int64 `json:"written"`   // lines
	Expired   int64 `json:"expired"`   // records that had gone before they could be read: queue.retention is too short
	Missed    int64 `json:"missed"`    // final states that had been dropped unread: queue.finals is too small
	Restarted int64 `json:"restarted"` // times that the store's own numbers went back
}

// Archive writes one folder. It is for one goroutine.
type Archive struct {
	Options
	folder *folder
	state  state
}

// pageEntries is how many stream entries of a partition one step reads. An
// entry holds what one commit closed, a few hundred final states at most.
const pageEntries = 64

// Open takes hold of a folder, and cuts off what was written beyond its last
// stored position. A folder that another process holds is an error.
func Open(o Options) (*Archive, error) {
	if o.Every <= 0 {
		o.Every = time.Second
	}
	f, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	a := &Archive{Options: o, folder: f}
	if err := a.resume(); err != nil {
		f.close()
		return nil, err
	}
	return a, nil
}

// Close lets go of the folder.
func (a *Archive) Close() { a.folder.close() }

// Totals is what has been done since the folder was begun.
func (a *Archive) Totals() Totals { return a.state.Totals }

// resume reads the stored position and undoes what was written beyond it.
func (a *Archive) resume() error {
	var err error
	if a.state, err = a.folder.load(); err != nil {
		return err
	}
	if a.state.Namespace != "" && a.state.Namespace != a.Namespace {
		return fmt.Errorf("%s is the archive of queue.namespace %q, not of %q: choose another folder", a.Dir, a.state.Namespace, a.Namespace)
	}
	a.state.Namespace = a.Namespace
	for name, size := range a.state.Files {
		cut, err := a.folder.cut(name, size)
		if err != nil {
			return err
		}
		if cut > 0 {
			a.Log.Info("cut off what was written beyond the stored position", "file", name, "bytes", cut)
		}
	}
	return nil
}

// Run archives until ctx ends; with once, until there is nothing new. A store
// that is out of reach is waited for, or with once an error.
func (a *Archive) Run(ctx context.Context, once bool) error {
	for ctx.Err() == nil {
		news, err := a.step(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil && !(errors.Is(err, queue.ErrUnavailable) && !once):
			return err
		case err != nil:
			a.Log.Warn("Redis is away; waiting for it", "error", err)
			wait(ctx, a.Every)
		case !news && once:
			return nil
		case !news:
			wait(ctx, a.Every)
		}
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// step archives a page of every partition under one stored position, and
// reports whether there was anything new.
func (a *Archive) step(ctx context.Context) (news bool, err error) {
	next := a.state.clone()
	lines := map[string]*bytes.Buffer{} // by file
	for p := range a.Partitions {
		page, err := a.Source.Finals(ctx, p, next.mark(p), pageEntries)
		if err != nil {
			return false, fmt.Errorf("reading final states of partition %d: %w", p, err)
		}
		news = news || page.Restarted || page.Next != next.mark(p)
		next.take(p, &page)
		a.tell(p, &page)
		if err := appendLines(lines, page.Records); err != nil {
			return false, err
		}
	}
	if !news {
		return false, nil
	}
	return true, a.commit(lines, next)
}

// tell says loudly what is missing.
func (a *Archive) tell(partition int, page *queue.Finals) {
	if page.Missed > 0 {
		a.Log.Error("a gap: final states were dropped before they were archived; raise queue.finals", "partition", partition, "missed", page.Missed)
	}
	if len(page.Expired) > 0 {
		a.Log.Error("a gap: records expired before they were archived; raise queue.retention", "partition", partition, "expired", len(page.Expired), "first", page.Expired[0])
	}
	if page.Restarted {
		a.Log.Warn("the store's final states went back, as after a failover or with its data lost; some may be archived twice", "partition", partition)
	}
}

// commit writes lines and stores the position behind them. Before a file is
// first written to, its size is stored: whatever is beyond a stored size, when
// the folder is opened again, belongs to a step that was not completed.
func (a *Archive) commit(lines map[string]*bytes.Buffer, next state) error {
	if err := a.intend(lines); err != nil {
		return err
	}
	next.Files = map[string]int64{}
	for name, text := range lines {
		size, err := a.folder.append(name, a.state.Files[name], text.Bytes())
		if err != nil {
			return a.undo(lines, err)
		}
		next.Files[name] = size
	}
	if err := a.folder.store(next); err != nil {
		return err
	}
	a.state = next
	return nil
}

// intend stores the sizes of files that are about to grow, where they are not
// stored already. A file that was moved away meanwhile begins anew.
func (a *Archive) intend(lines map[string]*bytes.Buffer) error {
	known, changed := a.state.clone(), false
	for name := range lines {
		size, err := a.folder.size(name)
		if err != nil {
			return err
		}
		if stored, ok := known.Files[name]; !ok || stored != size {
			known.Files[name], changed = size, true
		}
	}
	if !changed {
		return nil
	}
	if err := a.folder.store(known); err != nil {
		return err
	}
	a.state = known
	return nil
}

// undo takes back what a step has written before it failed, as opening the
// folder again would.
func (a *Archive) undo(lines map[string]*bytes.Buffer, cause error) error {
	for name := range lines {
		if _, err := a.folder.cut(name, a.state.Files[name]); err != nil {
			a.Log.Warn("cannot take back a torn line now; the next start does", "file", name, "error", err)
		}
	}
	return fmt.Errorf("%w: the stored position has not moved; make room and start the archive again", cause)
}
