package recipients

import (
	"context"
	"crypto/sha256"
	_ "embed" // the scripts
	"encoding/base64"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed endpoint_failed.lua
	endpointFailedLua string
	//go:embed endpoints_failing.lua
	endpointsFailingLua string
)

const (
	// failureGap is how long after its last failure an endpoint is forgotten:
	// longer than the longest wait between two attempts.
	failureGap = 48 * time.Hour
	// mostFailing bounds the endpoints that are remembered, about 1 MB.
	mostFailing = 10_000
	// knownFor is how old this process's copy may be. An endpoint that fails
	// elsewhere and answers here within this time is thought to have failed on:
	// 30 s in five days.
	knownFor = 30 * time.Second
	// noteEvery is how often one endpoint's failures are noted.
	noteEvery = time.Minute
	// answerTime bounds what Redis may cost a send.
	answerTime = time.Second
)

// Endpoints remembers which endpoints do nothing but fail, and since when. It
// costs an endpoint that answers nothing: each process keeps a copy of the few
// that fail. It is safe for concurrent use.
type Endpoints struct {
	rdb     redis.UniversalClient
	key     string
	now     func() time.Time
	failed  *redis.Script
	failing *redis.Script

	mu    sync.RWMutex
	known map[string]failingEndpoint
	read  time.Time // when known was read
}

// failingEndpoint is what is known of one.
type failingEndpoint struct{ since, noted time.Time }

// NewEndpoints makes the memory of failing endpoints. now is time.Now outside
// tests.
func NewEndpoints(rdb redis.UniversalClient, namespace string, now func() time.Time) *Endpoints {
	return &Endpoints{
		rdb: rdb, key: keys{namespace: namespace}.failing(), now: now,
		failed: redis.NewScript(endpointFailedLua), failing: redis.NewScript(endpointsFailingLua),
		known: map[string]failingEndpoint{},
	}
}

// Failed notes that an attempt at a tenant's endpoint failed, and returns since
// when all of them did. It is noted once a minute.
func (e *Endpoints) Failed(ctx context.Context, tenant, url string) (since time.Time, err error) {
	now := e.now()
	id := endpointID(tenant, url)
	e.mu.RLock()
	known, ok := e.known[id]
	e.mu.RUnlock()
	if ok && now.Sub(known.noted) < noteEvery {
		return known.since, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	first, err := e.failed.Run(ctx, e.rdb, []string{e.key}, id, now.UnixMilli(), failureGap.Milliseconds(), mostFailing).Int64()
	if err != nil {
		return now, fmt.Errorf("note that an endpoint fails: %w", err)
	}
	since = time.UnixMilli(first)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.known) < mostFailing {
		e.known[id] = failingEndpoint{since, now}
	}
	return since, nil
}

// Succeeded forgets the failures of an endpoint. For one that never failed it
// looks at this process's copy, and asks Redis for a new one every 30 s.
func (e *Endpoints) Succeeded(ctx context.Context, tenant, url string) error {
	if err := e.refresh(ctx); err != nil {
		return err
	}
	id, failing := e.forget(tenant, url)
	if !failing {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := e.rdb.HDel(ctx, e.key, id).Err(); err != nil {
		return fmt.Errorf("forget that an endpoint failed: %w", err)
	}
	return nil
}

// forget takes an endpoint out of the copy, and reports whether it was there.
func (e *Endpoints) forget(tenant, url string) (id string, failing bool) {
	e.mu.RLock()
	none := len(e.known) == 0
	e.mu.RUnlock()
	if none {
		return "", false
	}
	id = endpointID(tenant, url)
	e.mu.Lock()
	defer e.mu.Unlock()
	_, failing = e.known[id]
	delete(e.known, id)
	return id, failing
}

// refresh reads the failing endpoints again when the copy is old. One caller
// does it; the others go on with the old copy.
func (e *Endpoints) refresh(ctx context.Context) error {
	now := e.now()
	e.mu.RLock()
	fresh := now.Sub(e.read) < knownFor
	e.mu.RUnlock()
	if fresh || !e.claim(now) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	found, err := e.failing.Run(ctx, e.rdb, []string{e.key}, now.UnixMilli(), failureGap.Milliseconds()).StringSlice()
	if err != nil {
		return fmt.Errorf("read the failing endpoints: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	next := make(map[string]failingEndpoint, len(found)/2)
	for i := 0; i+1 < len(found); i += 2 {
		since, err := strconv.ParseInt(found[i+1], 10, 64)
		if err != nil {
			continue // the next failure writes it anew
		}
		next[found[i]] = failingEndpoint{time.UnixMilli(since), e.known[found[i]].noted}
	}
	e.known = next
	return nil
}

// claim says that the caller is the one to read.
func (e *Endpoints) claim(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.read) < knownFor {
		return false
	}
	e.read = now
	return true
}

// endpointID is a digest: a URL may hold a token.
func endpointID(tenant, url string) string {
	sum := sha256.Sum256([]byte(escape(tenant) + ":" + url))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
