package recipients

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

// maxAddress bounds what is put into a key: the longest address that a
// notification may name.
const maxAddress = max(notice.MaxEmail, notice.MaxToken, notice.MaxWebhook)

// maxReason bounds the reason of a suppression, in bytes.
const maxReason = 256

// Suppression says that an address is not to be written to.
type Suppression struct {
	Reason string    `json:"reason,omitzero"` // in the words of whoever suppressed it
	Kind   Kind      `json:"kind,omitzero"`
	At     time.Time `json:"at"`
}

// Suppress stops everything that a tenant would send to an address, until
// Unsuppress. One that is suppressed already gets the new reason and time.
func (s *Store) Suppress(ctx context.Context, tenant string, channel notice.Channel, address, reason string) error {
	key, err := s.suppressionKey(tenant, channel, address)
	if err != nil {
		return err
	}
	if len(reason) > maxReason {
		return notice.Faults{{Pointer: "/reason", Detail: fmt.Sprintf("is %d bytes: at most %d", len(reason), maxReason)}}
	}
	stored, err := json.Marshal(Suppression{Reason: reason, At: s.now().UTC().Truncate(time.Millisecond)})
	if err != nil {
		return notice.Faults{{Pointer: "/reason", Detail: "is no text: write it in UTF-8"}}
	}
	if err := s.rdb.Set(ctx, key, stored, 0).Err(); err != nil {
		return fmt.Errorf("suppress an address: %w", err)
	}
	return nil
}

// Suppression reads why and since when an address is suppressed, or returns
// ErrNotFound when it is not.
func (s *Store) Suppression(ctx context.Context, tenant string, channel notice.Channel, address string) (Suppression, error) {
	key, err := s.suppressionKey(tenant, channel, address)
	if err != nil {
		return Suppression{}, err
	}
	stored, err := s.rdb.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return Suppression{}, fmt.Errorf("suppression: %w", ErrNotFound)
	}
	if err != nil {
		return Suppression{}, fmt.Errorf("read a suppression: %w", err)
	}
	return decodeSuppression(stored), nil
}

// decodeSuppression reads what is stored. That it is there is what counts: one
// that cannot be read suppresses all the same.
func decodeSuppression(stored []byte) Suppression {
	var found Suppression
	if json.Unmarshal(stored, &found) != nil {
		return Suppression{Reason: "unreadable entry"}
	}
	return found
}

// Unsuppress lets an address be written to again, or returns ErrNotFound when
// it was not suppressed.
func (s *Store) Unsuppress(ctx context.Context, tenant string, channel notice.Channel, address string) error {
	key, err := s.suppressionKey(tenant, channel, address)
	if err != nil {
		return err
	}
	deleted, err := s.rdb.Del(ctx, key).Result()
	if err != nil {
		return fmt.Errorf("lift a suppression: %w", err)
	}
	if deleted == 0 {
		return fmt.Errorf("suppression: %w", ErrNotFound)
	}
	return nil
}

// suppressionKey checks what a suppression is about and names its key.
func (s *Store) suppressionKey(tenant string, channel notice.Channel, address string) (string, error) {
	if !channel.Valid() {
		return "", notice.Faults{{Pointer: "/channel", Detail: fmt.Sprintf("%.80q is no channel: one of email, apns, fcm, webpush, webhook", channel)}}
	}
	normal := normalise(channel, address)
	if normal == "" || len(address) > maxAddress {
		return "", notice.Faults{{Pointer: "/address", Detail: fmt.Sprintf("is %d bytes: give an address of 1 to %d", len(address), maxAddress)}}
	}
	_, key := s.keys.suppression(tenant, channel, normal)
	return key, nil
}
