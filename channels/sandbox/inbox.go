package sandbox

import (
	"embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

//go:embed page
var page embed.FS

const (
	listLimit     = 100     // messages in one answer, unless limit says otherwise
	behaviourBody = 4 << 10 // bytes of a POST to misbehave
)

// The policies of what is served. The page runs its own script and nothing
// else. A mail is shown in a frame that may not do anything at all: no script,
// no form, no request, not even for an image, since a mail that is being
// tested has not asked its reader.
const (
	pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
	mailPolicy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
	dataPolicy = "sandbox; default-src 'none'; frame-ancestors 'none'"
)

// Handler serves the inbox page and its API; the package's documentation
// lists the calls. Requests from other sites are refused, whether they come
// from a page in the same browser or under a name of theirs.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.servePage)
	mux.HandleFunc("GET /inbox.js", asset("inbox.js", "text/javascript; charset=utf-8"))
	mux.HandleFunc("GET /inbox.css", asset("inbox.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /icon.svg", asset("icon.svg", "image/svg+xml"))
	mux.HandleFunc("GET /messages", s.listMessages)
	mux.HandleFunc("DELETE /messages", s.deleteMessages)
	mux.HandleFunc("GET /messages/{seq}", s.withMessage(showMessage))
	mux.HandleFunc("GET /messages/{seq}/html", s.withMessage(showHTML))
	mux.HandleFunc("GET /messages/{seq}/raw", s.withMessage(showRaw))
	mux.HandleFunc("GET /state", s.showState)
	mux.HandleFunc("GET /events", s.serveEvents)
	mux.HandleFunc("POST /misbehave/{channel}", s.postMisbehave)
	return s.guard(mux)
}

// guard refuses what other sites send, and sends the mount point itself to
// its slash, without which the page's links would lead elsewhere.
func (s *Sandbox) guard(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", dataPolicy)
		switch err := origins.Check(r); {
		case !s.knownHost(r.Host):
			fail(w, http.StatusMisdirectedRequest, fmt.Sprintf("the inbox is not served under the name %q: ask by address or as localhost, or add the name to sandbox.Options.Hosts", r.Host))
		case err != nil:
			fail(w, http.StatusForbidden, "this request comes from another site: "+err.Error())
		case r.URL.Path == "":
			h.Set("Location", "./"+(&url.URL{Path: mountName(r)}).EscapedPath()+"/")
			w.WriteHeader(http.StatusPermanentRedirect)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// mountName is the last element of the path that the inbox is mounted at.
func mountName(r *http.Request) string {
	u, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return "."
	}
	return path.Base(u.Path)
}

// knownHost reports whether a browser that asks for host cannot have been led
// here by a stranger's DNS.
func (s *Sandbox) knownHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if net.ParseIP(name) != nil || !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") {
		return true
	}
	for _, known := range s.hosts {
		if strings.EqualFold(known, name) {
			return true
		}
	}
	return false
}

func (s *Sandbox) servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", pagePolicy)
	asset("inbox.html", "text/html; charset=utf-8")(w, r)
}

// asset serves one embedded file.
func asset(name, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		content, err := page.ReadFile("page/" + name)
		if err != nil {
			fail(w, http.StatusInternalServerError, "the page is missing from the binary: "+name)
			return
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(content)
	}
}

// listMessages answers {"messages": […]}, newest first; with view=list each
// without its long parts.
func (s *Sandbox) listMessages(w http.ResponseWriter, r *http.Request) {
	f, err := readFilter(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	messages := s.Messages(f)
	if r.URL.Query().Get("view") == "list" {
		for i := range messages {
			messages[i] = messages[i].summary()
		}
	}
	if messages == nil {
		messages = []Message{} // [] rather than null
	}
	reply200(w, map[string]any{"messages": messages})
}

// summary is m as a line of the list.
func (m Message) summary() Message {
	text := m.Text
	if m.Channel == notice.ChannelWebhook {
		text = m.Raw
	}
	text, _ = clip(text, 200, false)
	return Message{
		Seq: m.Seq, Channel: m.Channel, ID: m.ID, At: m.At, To: m.To, From: m.From,
		Title: m.Title, Text: text, Verified: m.Verified, Note: m.Note,
	}
}

// readFilter reads the query of GET messages.
func readFilter(q url.Values) (Filter, error) {
	f := Filter{Channel: notice.Channel(q.Get("channel")), To: q.Get("to"), ID: q.Get("id"), Search: q.Get("q"), Limit: listLimit}
	if f.Channel != "" && !f.Channel.Valid() {
		return f, fmt.Errorf("channel=%s: there is no such channel: use one of %v", f.Channel, notice.Channels())
	}
	for name, into := range map[string]*int{"after": &f.After, "limit": &f.Limit} {
		if q.Get(name) == "" {
			continue
		}
		n, err := strconv.Atoi(q.Get(name))
		if err != nil || n < 0 {
			return f, fmt.Errorf("%s=%s: use a number of 0 or more", name, q.Get(name))
		}
		*into = n
	}
	return f, nil
}

func (s *Sandbox) deleteMessages(w http.ResponseWriter, _ *http.Request) {
	s.Clear()
	w.WriteHeader(http.StatusNoContent)
}

// withMessage finds the message that the path names.
func (s *Sandbox) withMessage(show func(http.ResponseWriter, Message)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seq, err := strconv.Atoi(r.PathValue("seq"))
		m, ok := s.box.one(seq)
		if err != nil || !ok {
			fail(w, http.StatusNotFound, "no such message: it was cleared, or older ones made room for newer")
			return
		}
		show(w, m)
	}
}

func showMessage(w http.ResponseWriter, m Message) { reply200(w, m) }

// showHTML is the mail itself, for the frame that shows it.
func showHTML(w http.ResponseWriter, m Message) {
	w.Header().Set("Content-Security-Policy", mailPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, m.HTML)
}

func showRaw(w http.ResponseWriter, m Message) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, m.Raw)
}

// state is everything on the page that is no message.
type state struct {
	Instance string                              `json:"instance"` // changes when Seq starts again
	First    int                                 `json:"first"`    // the oldest Seq that is kept; after Last when none is
	Last     int                                 `json:"last"`     // the newest Seq
	Cleared  int                                 `json:"cleared"`  // how often the messages were cleared
	Keep     int                                 `json:"keep"`
	Hint     string                              `json:"hint,omitzero"` // Options.Hint
	Counts   map[notice.Channel]int              `json:"counts"`
	Endpoint map[notice.Channel]string           `json:"endpoints"`
	Behaves  map[notice.Channel]behaviourMessage `json:"behaviours"` // only those that misbehave
	Refused  []Refusal                           `json:"refused"`
}

func (s *Sandbox) state() state {
	first, last, cleared := s.box.position()
	st := state{
		Instance: s.instance, First: first, Last: last, Cleared: cleared, Keep: s.box.keep, Hint: s.hint,
		Counts: s.Counts(), Refused: s.Refusals(), Behaves: map[notice.Channel]behaviourMessage{},
		Endpoint: map[notice.Channel]string{
			notice.ChannelEmail: "smtp://" + s.SMTPAddr, notice.ChannelAPNs: s.APNsURL, notice.ChannelFCM: s.FCMURL,
			notice.ChannelWebPush: s.WebPushURL, notice.ChannelWebhook: s.WebhookURL,
		},
	}
	for c, b := range s.behaviours.current() {
		st.Behaves[c] = describeBehaviour(b)
	}
	return st
}

func (s *Sandbox) showState(w http.ResponseWriter, _ *http.Request) { reply200(w, s.state()) }

// behaviourMessage is a Behaviour as the API speaks of it.
type behaviourMessage struct {
	Delay      string  `json:"delay,omitzero"` // "250ms", "2s"
	Status     int     `json:"status,omitzero"`
	Reason     string  `json:"reason,omitzero"`
	RetryAfter string  `json:"retry_after,omitzero"` // "30s"
	Cut        Cut     `json:"cut,omitzero"`
	Share      float64 `json:"share,omitzero"`
	Times      int     `json:"times,omitzero"`
}

func describeBehaviour(b Behaviour) behaviourMessage {
	out := behaviourMessage{Status: b.Status, Reason: b.Reason, Cut: b.Cut, Share: b.Share, Times: b.Times}
	if b.Delay > 0 {
		out.Delay = b.Delay.String()
	}
	if b.RetryAfter > 0 {
		out.RetryAfter = b.RetryAfter.String()
	}
	return out
}

// behaviour is the Behaviour that b describes.
func (b behaviourMessage) behaviour() (Behaviour, error) {
	out := Behaviour{Status: b.Status, Reason: b.Reason, Cut: b.Cut, Share: b.Share, Times: b.Times}
	for _, field := range []struct {
		name, text string
		into       *time.Duration
	}{{"delay", b.Delay, &out.Delay}, {"retry_after", b.RetryAfter, &out.RetryAfter}} {
		if field.text == "" {
			continue
		}
		d, err := time.ParseDuration(field.text)
		if err != nil {
			return out, fmt.Errorf("%s %q is no duration: write it as 250ms, 2s or 1m", field.name, field.text)
		}
		*field.into = d
	}
	return out, nil
}

// postMisbehave sets what a channel does from now on and answers with it.
func (s *Sandbox) postMisbehave(w http.ResponseWriter, r *http.Request) {
	b, err := readBehaviour(r.Body)
	if err == nil {
		err = b.Validate(notice.Channel(r.PathValue("channel")))
	}
	if err == nil {
		err = s.Misbehave(notice.Channel(r.PathValue("channel")), b)
	}
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	reply200(w, describeBehaviour(b))
}

// readBehaviour reads a JSON object; nothing at all is the zero Behaviour.
func readBehaviour(r io.Reader) (Behaviour, error) {
	body, err := io.ReadAll(io.LimitReader(r, behaviourBody+1))
	switch {
	case err != nil:
		return Behaviour{}, fmt.Errorf("reading the behaviour: %w", err)
	case len(body) > behaviourBody:
		return Behaviour{}, fmt.Errorf("the behaviour is larger than %d bytes", behaviourBody)
	case len(body) == 0:
		return Behaviour{}, nil
	}
	var b behaviourMessage
	if err := json.Unmarshal(body, &b, json.RejectUnknownMembers(true)); err != nil {
		return Behaviour{}, fmt.Errorf(`the body is no behaviour such as {"status":503,"retry_after":"30s","times":2}: %w`, err)
	}
	return b.behaviour()
}

// reply200 answers in JSON. Text that is not UTF-8 is mended on the way.
func reply200(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.MarshalWrite(w, v, jsontext.AllowInvalidUTF8(true), json.Deterministic(true))
}

// fail answers with an RFC 9457 problem.
func fail(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.MarshalWrite(w, map[string]any{"title": http.StatusText(status), "status": status, "detail": detail},
		jsontext.AllowInvalidUTF8(true), json.Deterministic(true))
}
