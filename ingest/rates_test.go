package ingest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/queue"
)

// itemsOf are what became of a batch's items.
type itemsOf struct {
	Accepted int `json:"accepted"`
	Rejected int `json:"rejected"`
	Results  []struct {
		ID    string `json:"id"`
		Error struct {
			Type string `json:"type"`
		} `json:"error"`
	} `json:"results"`
}

func perMinute(n int) config.Rate { return config.Rate{Count: n, Per: time.Minute} }

func TestABatchCostsItsItemsAndOnlyThoseBeyondTheRateAreRefused(t *testing.T) {
	f := start(t, func(o *ingest.Options) {
		o.Ingest.MaxBatch = 10
		o.Tenants = []config.Tenant{{Tenant: "acme", Rate: perMinute(4)}}
	})
	r := f.call("POST", "/v1/notifications/batch", "["+strings.Join([]string{shipped, shipped, shipped, shipped, shipped, shipped}, ",")+"]")
	var got itemsOf
	r.into(t, 202, &got)
	if got.Accepted != 4 || got.Rejected != 2 || got.Results[3].ID == "" || !strings.HasSuffix(got.Results[4].Error.Type, "/rate-limited") {
		t.Errorf("%+v, want the first four and the others rate-limited", got)
	}
	if r.header.Get("RateLimit-Policy") != `"tenant";q=4;w=60` || r.header.Get("RateLimit") != `"tenant";r=0;t=60` {
		t.Errorf("policy %q, state %q", r.header.Get("RateLimit-Policy"), r.header.Get("RateLimit"))
	}
	again := f.call("POST", "/v1/notifications", shipped)
	again.wantProblem(t, 429, "rate-limited")
	if again.header.Get("Retry-After") != "15" {
		t.Errorf("Retry-After %q, want the 15 seconds until one more", again.header.Get("Retry-After"))
	}
	if read := f.call("GET", "/v1/templates", ""); read.status != 200 || read.header.Get("RateLimit") != "" {
		t.Errorf("a tenant's rate is of what it sends, and reading answers %d, %q", read.status, read.header.Get("RateLimit"))
	}
}

func TestAKeyWithARateInATenantWithOneIsToldBoth(t *testing.T) {
	f := start(t, func(o *ingest.Options) { o.Tenants = []config.Tenant{{Tenant: "acme", Rate: perMinute(10)}} })
	r := f.call("POST", "/v1/notifications", shipped, "Authorization", "Bearer "+slowKey)
	if got := r.header.Get("RateLimit-Policy"); got != `"default";q=2;w=60, "tenant";q=10;w=60` {
		t.Errorf("policy %q", got)
	}
	if got := r.header.Get("RateLimit"); got != `"default";r=1;t=30, "tenant";r=9;t=6` {
		t.Errorf("state %q", got)
	}
}

func TestRatesAndKeysAreReplacedWhileTheAPIServes(t *testing.T) {
	var options ingest.Options
	start(t, func(o *ingest.Options) { options = *o })
	options.Registry = nil
	api := ingest.New(options)
	send := func(key string) int {
		r := httptest.NewRequest("POST", "/v1/notifications", strings.NewReader(shipped))
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		return w.Code
	}
	for _, want := range []int{202, 202, 429} {
		if got := send(slowKey); got != want {
			t.Fatalf("under a rate of 2/m: %d, want %d", got, want)
		}
	}
	api.Replace(config.Auth{Keys: []config.Key{{Tenant: "acme", Key: config.NewSecret(slowKey), Rate: perMinute(600)}}}, nil)
	if send(slowKey) != 429 || send(acmeKey) != 401 {
		t.Error("what was spent is forgotten, or a key that is gone still works")
	}
	api.Replace(config.Auth{Keys: []config.Key{{Tenant: "acme", Key: config.NewSecret(slowKey)}}}, nil)
	if send(slowKey) != 202 {
		t.Error("a rate that is gone is still kept")
	}
}

func TestARateThatCannotBeLookedUpIsA503(t *testing.T) {
	f := start(t, func(o *ingest.Options) { o.Rates.(*fakeRates).fail = queue.ErrUnavailable })
	r := f.call("POST", "/v1/notifications", shipped, "Authorization", "Bearer "+slowKey)
	r.wantProblem(t, 503, "unavailable")
	f.call("POST", "/v1/notifications", shipped).into(t, 202, &accepted{}) // a key without a rate needs none
}

// A queue that stands still, and ten times as many requests as there is memory
// for: those beyond it are told so at once, and what is held stays within it.
func TestAFloodWhileTheQueueStandsStillIsBoundedAndRefusedCleanly(t *testing.T) {
	const most, bodySize = 4 << 20, 100 << 10
	frozen := make(chan struct{})
	f := start(t, func(o *ingest.Options) {
		o.Ingest.MaxInHand, o.Ingest.MaxBody = most, 1<<20
	})
	var under atomic.Int64 // way, while the queue stands still
	f.queue.hook = func(context.Context) {
		select {
		case <-frozen:
		default:
			under.Add(1)
			<-frozen
		}
	}
	body := strings.Replace(shipped, `{`, `{`+strings.Repeat(" ", bodySize), 1)
	var busy, taken atomic.Int64
	var calling sync.WaitGroup
	refused := make(chan struct{}, 1000)
	for i := range 200 {
		calling.Go(func() {
			var r io.Reader = strings.NewReader(body)
			if i%2 == 1 {
				r = struct{ io.Reader }{r} // chunked: its size is not known before
			}
			q, err := http.NewRequest("POST", f.url+"/v1/notifications", r)
			if err != nil {
				t.Error(err)
				return
			}
			q.Header.Set("Authorization", "Bearer "+acmeKey)
			q.Header.Set("Content-Type", "application/json")
			got, err := http.DefaultClient.Do(q)
			if err != nil {
				return // cut off while it was still sending
			}
			defer got.Body.Close()
			text, _ := io.ReadAll(got.Body)
			switch {
			case got.StatusCode == 503 && strings.Contains(string(text), "/problems/busy") && got.Header.Get("Retry-After") != "":
				busy.Add(1)
				refused <- struct{}{}
			case got.StatusCode == 202:
				taken.Add(1)
			default:
				t.Errorf("%d %s", got.StatusCode, text)
			}
		})
	}
	for range 50 {
		select {
		case <-refused:
		case <-time.After(time.Minute):
			t.Fatalf("only %d were refused", busy.Load())
		}
	}
	if n := under.Load(); n == 0 || n > most/(4*bodySize) {
		t.Errorf("%d are under way, want some and %d at most, which is what %d bytes are enough for", n, most/(4*bodySize), most)
	}
	close(frozen)
	calling.Wait()
	if taken.Load() < under.Load() {
		t.Errorf("%d were accepted, and %d waited for it", taken.Load(), under.Load())
	}
	f.call("POST", "/v1/notifications", shipped).into(t, 202, &accepted{}) // all has been given back
}
