package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/recipients"
)

// Profiles keeps what is known of the people that are written to. An unknown
// user is recipients.ErrNotFound; what is wrong with a value is notice.Faults.
type Profiles interface {
	Get(ctx context.Context, tenant, user string) (*recipients.Profile, error)
	Put(ctx context.Context, tenant, user string, p *recipients.Profile) error
	Patch(ctx context.Context, tenant, user string, patch []byte) (*recipients.Profile, error)
	Delete(ctx context.Context, tenant, user string) error
	PutPreferences(ctx context.Context, tenant, user string, wanted recipients.Preferences) error
	PutDevice(ctx context.Context, tenant, user string, d recipients.Device) error
	RemoveDevice(ctx context.Context, tenant, user, token string) (removed bool, err error)
}

// Eraser forgets what the records of a person's notifications hold of them.
type Eraser interface {
	Erase(ctx context.Context, tenant, user string) error
}

// recipientRoutes names the calls about people.
func (s *API) recipientRoutes() {
	s.handle("GET /v1/recipients/{user}", config.ScopeRead, s.getRecipient)
	s.handle("PUT /v1/recipients/{user}", config.ScopeAdmin, s.putRecipient)
	s.handle("PATCH /v1/recipients/{user}", config.ScopeAdmin, s.patchRecipient)
	s.handle("DELETE /v1/recipients/{user}", config.ScopeAdmin, s.deleteRecipient)
	s.handle("PUT /v1/recipients/{user}/preferences", config.ScopeAdmin, s.putPreferences)
	s.handle("POST /v1/recipients/{user}/devices", config.ScopeAdmin, s.postDevice)
	s.handle("DELETE /v1/recipients/{user}/devices/{token}", config.ScopeAdmin, s.deleteDevice)
}

func (s *API) getRecipient(w http.ResponseWriter, r *http.Request, who *caller) error {
	user, err := pathUser(r)
	if err != nil {
		return err
	}
	p, err := s.Profiles.Get(r.Context(), who.tenant, user)
	if err != nil {
		return stored(err)
	}
	return writeProfile(w, who, p)
}

func (s *API) putRecipient(w http.ResponseWriter, r *http.Request, who *caller) error {
	user, err := pathUser(r)
	if err != nil {
		return err
	}
	var p recipients.Profile
	if err := s.decodeBody(w, r, &p); err != nil {
		return err
	}
	if err := s.Profiles.Put(r.Context(), who.tenant, user, &p); err != nil {
		return stored(err)
	}
	return writeProfile(w, who, &p)
}

// patchRecipient changes a profile by a JSON merge patch (RFC 7396).
func (s *API) patchRecipient(w http.ResponseWriter, r *http.Request, who *caller) error {
	user, err := pathUser(r)
	if err != nil {
		return err
	}
	if t := mediaType(r); !isJSONType(t) {
		return wantType(t, "application/merge-patch+json")
	}
	body, err := s.bodies.read(w, r)
	if err != nil {
		return err
	}
	defer s.bodies.release(body)
	p, err := s.Profiles.Patch(r.Context(), who.tenant, user, *body)
	if err != nil {
		return stored(err)
	}
	return writeProfile(w, who, p)
}

// deleteRecipient erases a person. The records come first: should that fail,
// the profile still shows that there is something to erase.
func (s *API) deleteRecipient(w http.ResponseWriter, r *http.Request, who *caller) error {
	user, err := pathUser(r)
	if err != nil {
		return err
	}
	if s.Eraser != nil {
		if err := s.Eraser.Erase(r.Context(), who.tenant, user); err != nil {
			return stored(err)
		}
	}
	if err := s.Profiles.Delete(r.Context(), who.tenant, user); err != nil {
		return stored(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *API) putPreferences(w http.ResponseWriter, r *http.Request, who *caller) error {
	user, err := pathUser(r)
	if err != nil {
		return err
	}
	var wanted recipients.Preferences
	if err := s.decodeBody(w, r, &wanted); err != nil {
		return err
	}
	if err := s.Profiles.PutPreferences(r.Context(), who.tenant, user, wanted); err != nil {
		return stored(err)
	}
	return writeJSON(w, http.StatusOK, wanted)
}

func (s *API) postDevice(w http.ResponseWriter, r *http.Request, who *caller) error {
	user, err := pathUser(r)
	if err != nil {
		return err
	}
	var d notice.Device
	if err := s.decodeBody(w, r, &d); err != nil {
		return err
	}
	if err := s.Profiles.PutDevice(r.Context(), who.tenant, user, recipients.Device{Platform: d.Platform, Token: d.Token, App: d.App, Environment: d.Environment}); err != nil {
		return stored(err)
	}
	return writeJSON(w, http.StatusCreated, d)
}

func (s *API) deleteDevice(w http.ResponseWriter, r *http.Request, who *caller) error {
	user, err := pathUser(r)
	if err != nil {
		return err
	}
	removed, err := s.Profiles.RemoveDevice(r.Context(), who.tenant, user, r.PathValue("token"))
	if err != nil {
		return stored(err)
	}
	if !removed {
		return kindNotFound.problem("the user has no device with this token")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// pathUser is the path's user id.
func pathUser(r *http.Request) (string, error) {
	user := r.PathValue("user")
	if detail := notice.CheckUser(user); detail != "" {
		return "", kindBadRequest.problem("the user in the path " + detail)
	}
	return user, nil
}

// decodeBody reads a JSON body strictly into v.
func (s *API) decodeBody(w http.ResponseWriter, r *http.Request, v any) error {
	if t := mediaType(r); !isJSONType(t) {
		return wantType(t, "application/json")
	}
	body, err := s.bodies.read(w, r)
	if err != nil {
		return err
	}
	defer s.bodies.release(body)
	return notice.Decode(*body, v)
}

// stored classifies what a store of people returns: what is neither the
// caller's fault nor a missing entry is the store's own trouble.
func stored(err error) error {
	var faults notice.Faults
	var syntax *notice.SyntaxError
	switch {
	case errors.Is(err, recipients.ErrNotFound):
		return kindNotFound.problem("there is no such user, device or suppression")
	case errors.As(err, &faults), errors.As(err, &syntax):
		return err
	}
	return fmt.Errorf("%w: %w", queue.ErrUnavailable, err)
}

// redacted stands for a secret that the caller may not see. It is no valid
// secret, so a profile that is written back with it is refused.
const redacted = "[redacted]"

// writeProfile answers with a profile; webhook secrets only to who may set
// them.
func writeProfile(w http.ResponseWriter, who *caller, p *recipients.Profile) error {
	if who.may(config.ScopeAdmin) {
		return writeJSON(w, http.StatusOK, p)
	}
	shown := *p
	shown.Webhooks = make([]notice.Webhook, len(p.Webhooks))
	for i, hook := range p.Webhooks {
		if hook.Secret != "" {
			hook.Secret = redacted
		}
		shown.Webhooks[i] = hook
	}
	return writeJSON(w, http.StatusOK, shown)
}
