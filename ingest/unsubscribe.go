package ingest

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/carillonhq/carillon/notice/optout"
)

// OptOuts opens the tokens of unsubscribe links: *optout.Keys.
type OptOuts interface {
	// Open fails with optout.ErrToken or optout.ErrExpired.
	Open(token string, now time.Time) (optout.Wish, error)
}

// Wishes keeps what the readers of mails do not want: *recipients.Store.
type Wishes interface {
	SetPreference(ctx context.Context, tenant, user, category, channel string, wanted bool) error
	OptOut(ctx context.Context, tenant, address, category string) error
	OptIn(ctx context.Context, tenant, address, category string) error
}

const (
	// wishRate bounds how many changes a second this process passes on to the
	// store: nobody needs a key for them, and a valid link can be posted for
	// ever. What mail programs cause is far below it.
	wishRate = 200
	// maxWish bounds a POST's body in bytes; RFC 8058's is 26.
	maxWish = 4 << 10
	// emailMedium is the channel that a link's preference is about.
	emailMedium = "email"
)

//go:embed unsubscribe.html
var unsubscribeHTML string

//go:embed unsubscribe.css
var unsubscribeCSS string

// optOutPage is /u/{token}: the page behind the unsubscribe link of a mail,
// and the one-click POST of mail programs (RFC 8058). A GET changes nothing,
// since scanners of mail follow every link. It keeps no cookie and runs no
// script.
type optOutPage struct {
	*API
	page   *template.Template
	policy string // Content-Security-Policy
	pace   *rate.Limiter
}

// unsubscribeRoutes names the calls that need no key: the token is the key.
func (s *API) unsubscribeRoutes() {
	sum := sha256.Sum256([]byte(unsubscribeCSS))
	p := &optOutPage{
		API:  s,
		page: template.Must(template.New("unsubscribe").Parse(unsubscribeHTML)),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		pace: rate.NewLimiter(wishRate, wishRate),
	}
	s.mux.HandleFunc("GET /u/{token}", p.show)
	s.mux.HandleFunc("POST /u/{token}", p.act)
}

// optOutView is what the page shows.
type optOutView struct {
	Style    template.CSS
	Title    string
	Says     string
	Category string
	Button   string // empty: no button
	Field    string // the button's name and value
	Value    string
}

// The two buttons. The first is RFC 8058's own body, so that a person and a
// mail program say the same.
const (
	leaveField, leaveValue   = "List-Unsubscribe", "One-Click"
	returnField, returnValue = "List-Unsubscribe", "Undo"
)

func (p *optOutPage) show(w http.ResponseWriter, r *http.Request) {
	wish, ok := p.open(w, r)
	if !ok {
		return
	}
	p.write(w, http.StatusOK, optOutView{Title: "Unsubscribe", Category: wish.Category,
		Says: "You will get no more mails of this kind:", Button: "Unsubscribe", Field: leaveField, Value: leaveValue})
}

// act leaves the category, or returns to it.
func (p *optOutPage) act(w http.ResponseWriter, r *http.Request) {
	wish, ok := p.open(w, r)
	if !ok {
		return
	}
	wanted, ok := readWish(w, r)
	if !ok {
		p.write(w, http.StatusBadRequest, optOutView{Title: "Nothing was changed", Says: "The request says neither to unsubscribe nor to undo it. Open the link again and use the button."})
		return
	}
	if !p.pace.AllowN(p.Clock(), 1) {
		w.Header().Set("Retry-After", "1")
		p.write(w, http.StatusTooManyRequests, optOutView{Title: "Too many at once", Says: "Nothing was changed. Please try again in a moment."})
		return
	}
	if err := p.apply(r.Context(), wish, wanted); err != nil {
		p.Logger.Error("an unsubscribe could not be kept", "tenant", wish.Tenant, "category", wish.Category, "error", err)
		w.Header().Set("Retry-After", seconds(unavailableRetry))
		p.write(w, http.StatusServiceUnavailable, optOutView{Title: "Not done yet", Says: "This could not be stored just now. Please try again in a minute."})
		return
	}
	if wanted {
		p.write(w, http.StatusOK, optOutView{Title: "You are subscribed again", Category: wish.Category,
			Says: "You will get mails of this kind:", Button: "Unsubscribe", Field: leaveField, Value: leaveValue})
		return
	}
	p.write(w, http.StatusOK, optOutView{Title: "You are unsubscribed", Category: wish.Category,
		Says: "You will get no more mails of this kind:", Button: "Undo", Field: returnField, Value: returnValue})
}

// apply keeps a wish: a user's among the preferences, anybody else's with the
// address.
func (p *optOutPage) apply(ctx context.Context, wish optout.Wish, wanted bool) error {
	switch {
	case wish.User != "":
		return p.Wishes.SetPreference(ctx, wish.Tenant, wish.User, wish.Category, emailMedium, wanted)
	case wanted:
		return p.Wishes.OptIn(ctx, wish.Tenant, wish.Address, wish.Category)
	}
	return p.Wishes.OptOut(ctx, wish.Tenant, wish.Address, wish.Category)
}

// open reads the token of the path, and answers for one that is not valid.
func (p *optOutPage) open(w http.ResponseWriter, r *http.Request) (optout.Wish, bool) {
	wish, err := p.OptOuts.Open(r.PathValue("token"), p.Clock())
	if err == nil {
		return wish, true
	}
	says := "It may have been cut off by your mail program. Use the link of the mail as a whole, or write to the sender."
	if errors.Is(err, optout.ErrExpired) {
		says = "It is from a mail that is too old. Use the link of a newer one."
	}
	p.write(w, http.StatusNotFound, optOutView{Title: "This link does not work", Says: says})
	return optout.Wish{}, false
}

// readWish reads the body of a POST, as either of the two types that RFC 8058
// §3.1 allows. It is not ok when it says neither.
func readWish(w http.ResponseWriter, r *http.Request) (wanted, ok bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxWish)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var err error
	if kind == "multipart/form-data" {
		err = r.ParseMultipartForm(maxWish)
	} else {
		err = r.ParseForm()
	}
	if err != nil {
		return false, false
	}
	switch r.PostForm.Get(leaveField) {
	case leaveValue:
		return false, true
	case returnValue:
		return true, true
	}
	return false, false
}

// write answers with the page.
func (p *optOutPage) write(w http.ResponseWriter, status int, view optOutView) {
	view.Style = template.CSS(unsubscribeCSS)
	var body bytes.Buffer
	if err := p.page.Execute(&body, view); err != nil {
		p.Logger.Error("the unsubscribe page cannot be written", "error", fmt.Errorf("page: %w", err))
		status = http.StatusInternalServerError
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address of the page is the key
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")
	w.WriteHeader(status)
	w.Write(body.Bytes())
}
