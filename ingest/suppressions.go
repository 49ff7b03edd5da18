package ingest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
)

// Suppressions knows the addresses that nobody is to write to. One that is not
// suppressed is recipients.ErrNotFound.
type Suppressions interface {
	Suppression(ctx context.Context, tenant string, c notice.Channel, address string) (recipients.Suppression, error)
	Suppress(ctx context.Context, tenant string, c notice.Channel, address, reason string) error
	Unsuppress(ctx context.Context, tenant string, c notice.Channel, address string) error
}

// suppressionAnswer is one entry of the list.
type suppressionAnswer struct {
	Channel notice.Channel `json:"channel"`
	Address string         `json:"address"`
	recipients.Suppression
}

// suppressionBody is what PUT takes; the body may be left out.
type suppressionBody struct {
	Reason string `json:"reason"`
}

// manual is the reason of a suppression for which none was given.
const manual = "manual"

func (s *API) suppressionRoutes() {
	s.handle("GET /v1/suppressions/{channel}/{address}", config.ScopeRead, s.getSuppression)
	s.handle("PUT /v1/suppressions/{channel}/{address}", config.ScopeAdmin, s.putSuppression)
	s.handle("DELETE /v1/suppressions/{channel}/{address}", config.ScopeAdmin, s.deleteSuppression)
}

func (s *API) getSuppression(w http.ResponseWriter, r *http.Request, who *caller) error {
	channel, address, err := pathAddress(r)
	if err != nil {
		return err
	}
	return s.writeSuppression(w, r, who, channel, address)
}

func (s *API) putSuppression(w http.ResponseWriter, r *http.Request, who *caller) error {
	channel, address, err := pathAddress(r)
	if err != nil {
		return err
	}
	body := suppressionBody{Reason: manual}
	if r.ContentLength != 0 {
		if err := s.decodeBody(w, r, &body); err != nil {
			return err
		}
	}
	if err := s.Suppressions.Suppress(r.Context(), who.tenant, channel, address, body.Reason); err != nil {
		return stored(err)
	}
	return s.writeSuppression(w, r, who, channel, address)
}

func (s *API) deleteSuppression(w http.ResponseWriter, r *http.Request, who *caller) error {
	channel, address, err := pathAddress(r)
	if err != nil {
		return err
	}
	if err := s.Suppressions.Unsuppress(r.Context(), who.tenant, channel, address); err != nil {
		return stored(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *API) writeSuppression(w http.ResponseWriter, r *http.Request, who *caller, channel notice.Channel, address string) error {
	entry, err := s.Suppressions.Suppression(r.Context(), who.tenant, channel, address)
	if err != nil {
		return stored(err)
	}
	return writeJSON(w, http.StatusOK, suppressionAnswer{channel, address, entry})
}

// pathAddress is the path's channel and address.
func pathAddress(r *http.Request) (notice.Channel, string, error) {
	channel, address := notice.Channel(r.PathValue("channel")), r.PathValue("address")
	if !channel.Valid() {
		return "", "", kindBadRequest.problem(fmt.Sprintf("the path's %q is no channel: want one of %s", clip(string(channel)), join(notice.Channels())))
	}
	if channel == notice.ChannelEmail {
		if detail := notice.CheckEmail(address); detail != "" {
			return "", "", kindBadRequest.problem("the path's address " + detail)
		}
	}
	return channel, address, nil
}
