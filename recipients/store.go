package recipients

import (
	"context"
	"crypto/sha1" // names a value, guards nothing
	_ "embed"     // the script
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
)

//go:embed swap.lua
var swapLua string

// ErrNotFound says that there is no such profile, device or suppression.
var ErrNotFound = errors.New("not found")

// Store keeps profiles and suppressions in Redis. It is safe to use from many
// goroutines and processes at once: a change is made to the profile that it was
// worked out from, or worked out again.
type Store struct {
	rdb      redis.UniversalClient
	keys     keys
	now      func() time.Time
	swap     *redis.Script
	feedback *redis.Script
}

// Option changes a Store as it is made.
type Option func(*Store)

// WithClock replaces time.Now, by which devices are registered and addresses
// suppressed.
func WithClock(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// New makes a store. partition must be the one that every room uses.
func New(rdb redis.UniversalClient, namespace string, partition Partitioner, options ...Option) *Store {
	s := &Store{rdb: rdb, keys: keys{namespace, partition}, now: time.Now, swap: redis.NewScript(swapLua), feedback: redis.NewScript(feedbackLua)}
	for _, o := range options {
		o(s)
	}
	return s
}

// Get reads a profile, or returns ErrNotFound.
func (s *Store) Get(ctx context.Context, tenant, user string) (*Profile, error) {
	_, key := s.keys.profile(tenant, user)
	p, _, err := s.read(ctx, key)
	return p, err
}

// read returns a profile and its stored form; ErrNotFound when there is none.
func (s *Store) read(ctx context.Context, key string) (*Profile, []byte, error) {
	stored, err := s.rdb.Get(ctx, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil, fmt.Errorf("recipient: %w", ErrNotFound)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read a recipient: %w", err)
	}
	p, err := decodeStored(stored)
	return p, stored, err
}

func decodeStored(stored []byte) (*Profile, error) {
	p := &Profile{}
	if err := json.Unmarshal(stored, p); err != nil {
		return nil, fmt.Errorf("read a recipient: the stored profile cannot be read: %w", withoutValue(err))
	}
	return p, nil
}

// withoutValue keeps of a JSON error where it happened, and not what stood
// there, which is somebody's address.
func withoutValue(err error) error {
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		return fmt.Errorf("at %q, byte %d", semantic.JSONPointer, semantic.ByteOffset)
	}
	return errors.New("it is no JSON")
}

// errUnchanged ends an edit that has nothing to change.
var errUnchanged = errors.New("unchanged")

// edit changes a profile atomically: change works on what is stored (an empty
// profile, and stored false, when there is none), and is called again when
// somebody else was quicker. A profile that change leaves invalid is not stored.
func (s *Store) edit(ctx context.Context, tenant, user string, change func(p *Profile, stored bool) error) (*Profile, error) {
	if detail := notice.CheckUser(user); detail != "" {
		return nil, notice.Faults{{Detail: "the user id " + detail}}
	}
	_, key := s.keys.profile(tenant, user)
	for {
		p, old, err := s.read(ctx, key)
		switch {
		case errors.Is(err, ErrNotFound):
			p = &Profile{}
		case err != nil:
			return nil, err
		}
		if err := change(p, old != nil); err != nil {
			return p, err
		}
		if err := p.Validate().Err(); err != nil {
			return nil, err
		}
		if done, err := s.replace(ctx, key, old, p); done || err != nil {
			return p, err
		}
	}
}

// replace stores p, or deletes the profile when p is nil, if what is stored is
// still old.
func (s *Store) replace(ctx context.Context, key string, old []byte, p *Profile) (done bool, err error) {
	var next []byte
	if p != nil {
		if next, err = json.Marshal(p); err != nil {
			return false, fmt.Errorf("store a recipient: %w", err)
		}
	}
	done, err = s.swap.Run(ctx, s.rdb, []string{key}, digest(old), next).Bool()
	if err != nil {
		return false, fmt.Errorf("store a recipient: %w", err)
	}
	return done, nil
}

func digest(stored []byte) string {
	if stored == nil {
		return ""
	}
	sum := sha1.Sum(stored)
	return hex.EncodeToString(sum[:])
}

// Put replaces a profile, or makes it; p is what was stored when it returns.
// What is wrong with p is returned as notice.Faults. A device without
// registered_at keeps the moment at which its token was registered, or is
// registered now.
func (s *Store) Put(ctx context.Context, tenant, user string, p *Profile) error {
	stored, err := s.edit(ctx, tenant, user, func(now *Profile, _ bool) error {
		known, removed := now.Devices, now.Removed
		*now = *p
		now.Devices = s.stamp(p.Devices, known)
		now.Removed = notRegistered(removed, now.Devices)
		return nil
	})
	if err != nil {
		return err
	}
	*p = *stored
	return nil
}

// stamp gives each device the moment at which it was registered. One that lies
// ahead would protect the device from removal, and becomes now.
func (s *Store) stamp(devices, known []Device) []Device {
	now := s.now().UTC().Truncate(time.Millisecond)
	stamped := slices.Clone(devices)
	for i := range stamped {
		d := &stamped[i]
		if d.RegisteredAt.IsZero() {
			d.RegisteredAt = registered(known, d.Token)
		}
		if d.RegisteredAt.IsZero() || d.RegisteredAt.After(now) {
			d.RegisteredAt = now
		}
	}
	return stamped
}

// registered is when a token was registered; zero when it is not known.
func registered(devices []Device, token string) time.Time {
	if i := indexOf(devices, token); i >= 0 {
		return devices[i].RegisteredAt
	}
	return time.Time{}
}

func indexOf(devices []Device, token string) int {
	return slices.IndexFunc(devices, func(d Device) bool { return d.Token == token })
}

// Patch merges a patch into a profile (RFC 7396) and returns the result; a
// profile that there is not is ErrNotFound. A patch that is no JSON is a
// *notice.SyntaxError, one that does not make a profile is notice.Faults.
func (s *Store) Patch(ctx context.Context, tenant, user string, patch []byte) (*Profile, error) {
	var changes map[string]any
	if err := notice.Decode(patch, &changes); err != nil {
		return nil, err
	}
	return s.edit(ctx, tenant, user, func(p *Profile, stored bool) error {
		if !stored {
			return fmt.Errorf("recipient: %w", ErrNotFound)
		}
		merged, err := merge(p, changes)
		if err != nil {
			return err
		}
		merged.Devices = s.stamp(merged.Devices, p.Devices)
		merged.Removed = notRegistered(p.Removed, merged.Devices)
		*p = *merged
		return nil
	})
}

// Delete erases a profile with its devices and preferences, or returns
// ErrNotFound. Suppressions stay: they say of an address, not of a person, that
// nobody is to write to it.
func (s *Store) Delete(ctx context.Context, tenant, user string) error {
	_, key := s.keys.profile(tenant, user)
	deleted, err := s.rdb.Del(ctx, key).Result()
	if err != nil {
		return fmt.Errorf("delete a recipient: %w", err)
	}
	if deleted == 0 {
		return fmt.Errorf("recipient: %w", ErrNotFound)
	}
	return nil
}

// PutPreferences replaces a person's preferences, and makes a profile of
// nothing else when there is none: who is known by address only may have
// wishes too.
func (s *Store) PutPreferences(ctx context.Context, tenant, user string, wanted Preferences) error {
	if err := wanted.Validate().Err(); err != nil {
		return err
	}
	_, err := s.edit(ctx, tenant, user, func(p *Profile, _ bool) error {
		p.Preferences = wanted
		return nil
	})
	return err
}

// SetPreference changes one preference, as one-click unsubscription does. Any
// stands for every category or channel.
func (s *Store) SetPreference(ctx context.Context, tenant, user, category, channel string, wanted bool) error {
	_, err := s.edit(ctx, tenant, user, func(p *Profile, _ bool) error {
		if p.Preferences == nil {
			p.Preferences = Preferences{}
		}
		if p.Preferences[category] == nil {
			p.Preferences[category] = map[string]bool{}
		}
		p.Preferences[category][channel] = wanted
		return nil
	})
	return err
}

// PutDevice registers a device, or registers it again, as of now unless it says
// when. A profile is made when there is none. Of more than MaxDevices the one
// registered longest ago is dropped.
func (s *Store) PutDevice(ctx context.Context, tenant, user string, d Device) error {
	var f notice.Faults
	device := d.Notice()
	if device.Check("", &f); len(f) > 0 {
		return f
	}
	_, err := s.edit(ctx, tenant, user, func(p *Profile, _ bool) error {
		p.Devices = slices.DeleteFunc(p.Devices, func(o Device) bool { return o.Token == d.Token })
		if len(p.Devices) >= MaxDevices {
			p.dropOldestDevice()
		}
		p.Devices = append(p.Devices, s.stamp([]Device{d}, nil)...)
		p.Removed = notRegistered(p.Removed, p.Devices)
		return nil
	})
	return err
}

// remember notes why a device is removed; of more than MaxRemoved the oldest
// are forgotten.
func (p *Profile) remember(d Device, reason string, at time.Time) {
	p.Removed = append(notRegistered(p.Removed, []Device{d}),
		RemovedDevice{Platform: d.Platform, Token: d.Token, App: d.App, Reason: reason, At: at.UTC().Truncate(time.Millisecond)})
	p.Removed = p.Removed[max(0, len(p.Removed)-MaxRemoved):]
}

func (p *Profile) dropOldestDevice() {
	oldest := slices.MinFunc(p.Devices, func(a, b Device) int { return a.RegisteredAt.Compare(b.RegisteredAt) })
	i := indexOf(p.Devices, oldest.Token)
	p.Devices = slices.Delete(p.Devices, i, i+1)
}

// notRegistered leaves out of removed what is a device again.
func notRegistered(removed []RemovedDevice, devices []Device) []RemovedDevice {
	var left []RemovedDevice
	for _, r := range removed {
		if indexOf(devices, r.Token) < 0 {
			left = append(left, r)
		}
	}
	return left
}

// RemoveDevice removes a device that its owner takes back, and all that is
// remembered of it. It reports whether there was one.
func (s *Store) RemoveDevice(ctx context.Context, tenant, user, token string) (removed bool, err error) {
	return s.removeDevice(ctx, tenant, user, token, time.Time{}, "")
}

// RetireDevice removes a device that its provider called dead, unless it was
// registered again after since: a provider's word about a token is as old as
// the moment it names. The profile remembers the reason. It reports whether
// the device is gone because of this call.
func (s *Store) RetireDevice(ctx context.Context, tenant, user, token string, since time.Time, reason string) (removed bool, err error) {
	return s.removeDevice(ctx, tenant, user, token, since, reason)
}

// removeDevice removes a device that was registered at or before since, or at
// any time when that is zero; with a reason it is remembered.
func (s *Store) removeDevice(ctx context.Context, tenant, user, token string, since time.Time, reason string) (removed bool, err error) {
	_, err = s.edit(ctx, tenant, user, func(p *Profile, _ bool) error {
		removed = false
		i := indexOf(p.Devices, token)
		if i < 0 || !since.IsZero() && p.Devices[i].RegisteredAt.After(since) {
			return errUnchanged
		}
		if reason != "" {
			p.remember(p.Devices[i], reason, s.now())
		}
		p.Devices = slices.Delete(p.Devices, i, i+1)
		removed = true
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return false, nil
	}
	return removed && err == nil, err
}
