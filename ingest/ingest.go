// Package ingest is the gateway's HTTP API: it checks what callers send,
// completes it from the template, and hands it to the queue. A 202 is written
// only after the queue has said that it keeps the notification.
//
// Every answer that is no success is an RFC 9457 problem; see problem.go.
package ingest

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/feedback"
	"github.com/carillonhq/carillon/feedback/provider"
	"github.com/carillonhq/carillon/ingest/openapi"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/templates"
)

// Queue takes notifications and tells what became of them.
type Queue interface {
	// Admit returns only when the notification is kept as durably as the
	// configuration promises; queue.ErrKeyReused and queue.ErrUnavailable are
	// told apart.
	Admit(ctx context.Context, a queue.Admission) (queue.Admitted, error)
	// AdmitAll is Admit for a batch: one result an admission, in order, each
	// with an Err of its own.
	AdmitAll(ctx context.Context, as []queue.Admission) []queue.Admitted
	Record(ctx context.Context, tenant, id string) (queue.Record, error)       // queue.ErrNotFound
	Cancel(ctx context.Context, tenant, id string) (queue.Cancellation, error) // queue.ErrNotFound, queue.ErrFinished
	// Pressure says why a notification is not taken at present, and when it may
	// be tried again. It is asked on every request, so it must not wait.
	Pressure(tenant string, n *notice.Notification) (queue.Refusal, bool)
}

// DeadLetters lists what was given up on and sends it again.
type DeadLetters interface {
	// DeadList returns one page and the id to go on after, empty at the end.
	DeadList(ctx context.Context, f queue.DeadFilter) ([]queue.Dead, string, error)
	// Redrive returns how many of ids were dead letters of tenant.
	Redrive(ctx context.Context, tenant string, ids ...string) (int, error)
	RedriveAll(ctx context.Context, f queue.DeadFilter) (int, error)
}

// Router turns an integration event into notifications: none when no route
// takes it. An error says that a route took it and could not make a
// notification of it.
type Router interface {
	Route(e notice.CloudEvent) ([]notice.Notification, error)
}

// Templates gives the catalogue that is being served; it may be another one
// on each call.
type Templates interface {
	Current() *templates.Catalogue
}

// Options are what the API is made of. Queue and Templates are required.
type Options struct {
	Ingest          config.Ingest
	Auth            config.Auth
	Tenants         []config.Tenant
	Queue           Queue
	Rates           Rates       // needed where a key or a tenant has a rate
	DeadLetters     DeadLetters // nil: /v1/dead answers 404
	Templates       Templates
	Assets          Assets                       // nil: /assets answers 404
	Router          Router                       // nil: every event is ignored
	Profiles        Profiles                     // nil: /v1/recipients answers 404
	Suppressions    Suppressions                 // nil: /v1/suppressions answers 404
	Eraser          Eraser                       // nil: erasing a person leaves the records of their notifications to expire
	OptOuts         OptOuts                      // nil: /u answers 404
	Wishes          Wishes                       // needed beside OptOuts
	Feedback        *feedback.Desk               // nil: /v1/feedback answers 404
	Providers       map[string]provider.Provider // by the last part of their path
	Reports         Reports                      // needed beside Providers
	EnabledChannels map[notice.Channel]bool      // see Acceptor
	BodyTimeout     time.Duration                // how long a client may take to send a body; 0: 20 s
	AnswerTimeout   time.Duration                // how long a call may take until its client has read the answer; 0: a minute
	Registry        prometheus.Registerer        // nil: metrics are kept but not registered
	Clock           func() time.Time             // nil: time.Now
	Logger          *slog.Logger                 // nil: slog.Default
}

// New makes the API. It starts no goroutine and needs no closing.
func New(o Options) *API {
	if o.BodyTimeout == 0 {
		o.BodyTimeout = 20 * time.Second
	}
	if o.AnswerTimeout == 0 {
		o.AnswerTimeout = time.Minute
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &API{
		Options: o,
		door:    Acceptor{Templates: o.Templates, EnabledChannels: o.EnabledChannels},
		mux:     &routes{ServeMux: http.NewServeMux()},
		hand:    inHand{most: int64(o.Ingest.MaxInHand)},
		metrics: newMetrics(o.Registry),
		bodies:  newBodies(int64(o.Ingest.MaxBody), o.BodyTimeout),
		outage:  rate.Sometimes{Interval: time.Second},
		names:   newRequestNames(),
	}
	s.Replace(o.Auth, o.Tenants)
	s.routes()
	return s
}

// Replace takes other keys, rates and tenants. Calls that are under way end by
// what they began with. A rate that changes keeps what was spent of it.
func (s *API) Replace(auth config.Auth, tenants []config.Tenant) {
	s.keys.Store(newKeyring(auth, tenants))
}

// API is the HTTP API's handler. Nothing in it changes after New but what its
// parts guard themselves.
type API struct {
	Options
	door    Acceptor
	mux     *routes
	keys    atomic.Pointer[keyring]
	hand    inHand
	metrics *metrics
	bodies  *bodies
	outage  rate.Sometimes // bounds the log while the store is away
	names   *requestNames
}

// routes is a mux that remembers what it was told, so that tests can hold the
// API's document against it.
type routes struct {
	*http.ServeMux
	patterns []string
}

// HandleFunc registers a handler.
func (m *routes) HandleFunc(pattern string, h http.HandlerFunc) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.HandleFunc(pattern, h)
}

// routes names every call of the API and the scope that it takes.
func (s *API) routes() {
	s.handle("POST /v1/notifications", config.ScopeSend, s.postNotification)
	s.handle("POST /v1/notifications/batch", config.ScopeSend, s.postBatch)
	s.handle("GET /v1/notifications/{id}", config.ScopeRead, s.getNotification)
	s.handle("DELETE /v1/notifications/{id}", config.ScopeSend, s.deleteNotification)
	s.handle("POST /v1/events", config.ScopeSend, s.postEvents)
	s.handle("GET /v1/templates", config.ScopeRead, s.getTemplates)
	s.handle("POST /v1/templates/{name}/render", config.ScopeRead, s.postRender)
	if s.DeadLetters != nil {
		s.handle("GET /v1/dead", config.ScopeRead, s.getDead)
		s.handle("POST /v1/dead/{delivery}/redrive", config.ScopeAdmin, s.postRedrive)
		s.handle("POST /v1/dead/redrive", config.ScopeAdmin, s.postRedriveAll)
	}
	if s.Profiles != nil {
		s.recipientRoutes()
	}
	if s.Suppressions != nil {
		s.suppressionRoutes()
	}
	if s.Feedback != nil {
		s.feedbackRoutes()
	}
	if s.OptOuts != nil {
		s.unsubscribeRoutes()
	}
	if s.Assets != nil {
		s.mux.HandleFunc("GET /assets/{name}", s.getAsset)
	}
	site := openapi.NewSite()
	for _, path := range []string{openapi.PathJSON, openapi.PathYAML, openapi.PathDocs} {
		s.mux.HandleFunc("GET "+path, site.ServeHTTP)
	}
}

// handler answers one call for a caller whose key has been checked. A returned
// error is written as the problem that it is (see problemOf).
type handler func(w http.ResponseWriter, r *http.Request, who *caller) error

// handle registers a call.
func (s *API) handle(pattern string, scope config.Scope, h handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		who, err := s.keys.Load().admit(r, scope)
		if err == nil {
			_, err = who.purse(scope).spend(r.Context(), s.Rates, w.Header(), 1)
		}
		if err != nil {
			if scope == config.ScopeSend {
				s.metrics.failed(err)
			}
			s.fail(w, r, err)
			return
		}
		noteTenant(w, who.tenant)
		if err := h(w, r, who); err != nil {
			s.fail(w, r, err)
		}
	})
}
