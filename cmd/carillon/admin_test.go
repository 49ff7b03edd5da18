package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/queue/queuetest"
)

func TestReadyzWarnsOfAStoreThatWouldLoseDataAndLogsItOnce(t *testing.T) {
	s := queuetest.Start(t, "--maxmemory-policy", "allkeys-lru")
	cfg := config.Default()
	cfg.Redis.URL, cfg.Templates.Dir = config.NewURL(s.URL()), "../../examples/shop/catalogue"
	var log strings.Builder
	g, err := openGateway(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	get := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		g.adminHandler(nil).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		return w
	}
	get()
	if w := get(); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "redis eviction") || !strings.Contains(w.Body.String(), "redis persistence") {
		t.Errorf("/readyz answers %d %s", w.Code, w.Body)
	}
	if n := strings.Count(log.String(), "redis eviction"); n != 1 {
		t.Errorf("logged %d times: %s", n, &log)
	}
	g.embedded = true
	if w := get(); strings.Contains(w.Body.String(), "redis") {
		t.Errorf("the store of dev is warned of: %s", w.Body)
	}
	s.Kill()
	if w := get(); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"redis"`) {
		t.Errorf("without Redis /readyz answers %d %s", w.Code, w.Body)
	}
}
