package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/ingest"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
)

// noQueue takes everything at no cost, so that what is measured is the door.
type noQueue struct{}

func (noQueue) Admit(context.Context, queue.Admission) (queue.Admitted, error) {
	return queue.Admitted{ID: "3-0123456789abcdefghij"}, nil
}
func (noQueue) AdmitAll(_ context.Context, as []queue.Admission) []queue.Admitted {
	return make([]queue.Admitted, len(as))
}
func (noQueue) Record(context.Context, string, string) (queue.Record, error) {
	return queue.Record{}, queue.ErrNotFound
}
func (noQueue) Cancel(context.Context, string, string) (queue.Cancellation, error) {
	return queue.Cancellation{}, queue.ErrNotFound
}
func (noQueue) Pressure(string, *notice.Notification) (queue.Refusal, bool) {
	return queue.Refusal{}, false
}

const benchBody = `{"template":"order-shipped","to":{"user":"u42","email":"ada@example.com","name":"Ada","locale":"de","timezone":"Europe/Berlin"},
 "data":{"order":"A-1","items":["tea","milk","sugar"]},"channels":["push","email"],"route":"all","category":"shipping","priority":"normal",
 "send_at":"2027-01-01T09:00:00Z","expires_at":"2027-01-02T09:00:00Z","collapse_key":"order-A-1"}`

func benchAPI(b *testing.B) http.Handler {
	return ingest.New(ingest.Options{
		Ingest:          config.Ingest{MaxBody: 1 << 20, MaxBatch: 1000},
		Auth:            config.Auth{Keys: []config.Key{{Tenant: "acme", Key: config.NewSecret(acmeKey)}}},
		Queue:           noQueue{},
		Templates:       loadCatalogue(b),
		EnabledChannels: map[notice.Channel]bool{notice.ChannelEmail: true, notice.ChannelAPNs: true},
		Clock:           func() time.Time { return testNow },
	})
}

// plain is the least that a handler for such a call does: decode, encode
// again for the queue, answer.
func plain(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	var n notice.Notification
	if err := json.Unmarshal(body, &n); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	w.WriteHeader(202)
	json.NewEncoder(w).Encode(map[string]any{"id": "3-0123456789abcdefghij", "status": "accepted", "duplicate": false})
}

func benchHandler(b *testing.B, h http.Handler) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		body := bytes.NewReader(nil)
		for pb.Next() {
			body.Reset([]byte(benchBody))
			r := httptest.NewRequest("POST", "/v1/notifications", body)
			r.Header["Authorization"] = []string{"Bearer " + acmeKey}
			r.Header["Content-Type"] = []string{"application/json"}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 202 {
				b.Fatal(w.Body)
			}
		}
	})
}

func BenchmarkPostNotification(b *testing.B) { benchHandler(b, benchAPI(b)) }

func BenchmarkPlainHandler(b *testing.B) { benchHandler(b, http.HandlerFunc(plain)) }

// benchServer measures the same over loopback connections that are kept.
func benchServer(b *testing.B, h http.Handler) {
	server := httptest.NewServer(h)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequest("POST", server.URL+"/v1/notifications", bytes.NewReader([]byte(benchBody)))
			if err != nil {
				b.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+acmeKey)
			res, err := client.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode != 202 {
				b.Fatal(res.Status)
			}
		}
	})
}

func BenchmarkPostNotificationOverLoopback(b *testing.B) { benchServer(b, benchAPI(b)) }

func BenchmarkPlainHandlerOverLoopback(b *testing.B) { benchServer(b, http.HandlerFunc(plain)) }

// recordQueue has one record, as long as records usually are.
type recordQueue struct{ noQueue }

func (recordQueue) Record(_ context.Context, tenant, id string) (queue.Record, error) {
	delivered := []queue.Entry{{At: testNow, Status: notice.StatusQueued}, {At: testNow, Status: notice.StatusDelivered, Attempt: 1, Code: "250"}}
	return queue.Record{ID: id, Tenant: tenant, User: "u42", Template: "order-shipped", Category: "shipping", Lane: notice.LaneNormal, AcceptedAt: testNow,
		Deliveries: []queue.DeliveryRecord{{ID: id + "-0", Channel: notice.ChannelEmail, Address: "a…@example.com", Status: notice.StatusDelivered, Attempt: 1, Timeline: delivered},
			{ID: id + "-1", Channel: notice.ChannelAPNs, Address: "00fc…", Status: notice.StatusDelivered, Attempt: 1, Timeline: delivered}}}, nil
}

func BenchmarkGetNotification(b *testing.B) {
	api := ingest.New(ingest.Options{Ingest: config.Ingest{MaxBody: 1 << 20, MaxBatch: 1000}, Auth: config.Auth{Disabled: true}, Queue: recordQueue{}, Templates: loadCatalogue(b)})
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest("GET", "/v1/notifications/"+exampleID, nil))
		if w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
