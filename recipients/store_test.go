package recipients_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-json-experiment/json"
	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/recipients"
)

const (
	iosToken = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"
	base     = "2026-11-05T12:00:00Z"
)

// eachStore runs a test on a real redis-server and on the embedded one of
// `carillon dev`.
func eachStore(t *testing.T, run func(t *testing.T, s *recipients.Store, c *clock)) {
	start := func(t *testing.T, rdb *redis.Client) {
		c := &clock{now: moment(t, base)}
		run(t, recipients.New(rdb, "test", spread, recipients.WithClock(c.read)), c)
	}
	t.Run("redis", func(t *testing.T) { start(t, queuetest.Redis(t)) })
	t.Run("embedded", func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), MaxRetries: -1})
		t.Cleanup(func() { rdb.Close() })
		start(t, rdb)
	})
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// spread is a partitioner of four partitions, crude on purpose.
func spread(tenant, user string) int {
	sum := 0
	for _, b := range []byte(tenant + "\x00" + user) {
		sum += int(b)
	}
	return sum % 4
}

func moment(t testing.TB, s string) time.Time {
	t.Helper()
	m, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustPut(t testing.TB, s *recipients.Store, tenant, user, body string) {
	t.Helper()
	p, err := recipients.Decode([]byte(body))
	if err != nil {
		t.Fatalf("decode %s: %v", body, err)
	}
	if err := s.Put(t.Context(), tenant, user, p); err != nil {
		t.Fatalf("put %s: %v", user, err)
	}
}

func wantStored(t testing.TB, s *recipients.Store, tenant, user, want string) {
	t.Helper()
	p, err := s.Get(t.Context(), tenant, user)
	if err != nil {
		t.Fatalf("get %s: %v", user, err)
	}
	got, err := json.Marshal(p, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("profile of %s:\n got %s\nwant %s", user, got, want)
	}
}

func TestAProfileIsReadAsItWasPut(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		body := `{"email":"ada@example.com","name":"Ada","locale":"de","timezone":"Europe/Berlin",` +
			`"devices":[{"platform":"ios","token":"` + iosToken + `","registered_at":"2026-01-01T00:00:00Z"}],` +
			`"webhooks":[{"url":"https://example.com/hook"}],` +
			`"quiet_hours":{"from":"22:00","to":"08:00","except":["critical"]},` +
			`"preferences":{"*":{"push":true},"marketing":{"*":false}}}`
		mustPut(t, s, "acme", "u42", body)
		wantStored(t, s, "acme", "u42", body)
	})
}

func TestPutReplacesEverythingButTheTimeAtWhichAKnownDeviceWasRegistered(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, c *clock) {
		mustPut(t, s, "acme", "u", `{"email":"ada@example.com","devices":[{"platform":"ios","token":"`+iosToken+`"}]}`)
		c.advance(time.Hour)
		mustPut(t, s, "acme", "u", `{"devices":[{"platform":"ios","token":"`+iosToken+`"},{"platform":"android","token":"fcm-1"}]}`)
		wantStored(t, s, "acme", "u", `{"devices":[{"platform":"ios","token":"`+iosToken+`","registered_at":"2026-11-05T12:00:00Z"},`+
			`{"platform":"android","token":"fcm-1","registered_at":"2026-11-05T13:00:00Z"}]}`)
	})
}

func TestTenantsAndUsersWithColonsDoNotMeet(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		mustPut(t, s, "a:b", "c", `{"name":"one"}`)
		mustPut(t, s, "a", "b:c", `{"name":"two"}`)
		mustPut(t, s, "a%3Ab", "c", `{"name":"three"}`)
		wantStored(t, s, "a:b", "c", `{"name":"one"}`)
		wantStored(t, s, "a", "b:c", `{"name":"two"}`)
		wantStored(t, s, "a%3Ab", "c", `{"name":"three"}`)
	})
}

func TestPatchMergesByRFC7396(t *testing.T) {
	const stored = `{"email":"ada@example.com","name":"Ada","preferences":{"a":{"email":false},"b":{"push":true}}}`
	cases := []struct{ name, patch, want string }{
		{"a member is replaced", `{"name":"Lovelace"}`, `{"email":"ada@example.com","name":"Lovelace","preferences":{"a":{"email":false},"b":{"push":true}}}`},
		{"null removes a member", `{"email":null,"name":null}`, `{"preferences":{"a":{"email":false},"b":{"push":true}}}`},
		{"objects are merged in depth", `{"preferences":{"a":{"push":true},"b":null}}`, `{"email":"ada@example.com","name":"Ada","preferences":{"a":{"email":false,"push":true}}}`},
		{"arrays are replaced whole", `{"webhooks":[{"url":"https://example.com/"}]}`, `{"email":"ada@example.com","name":"Ada","webhooks":[{"url":"https://example.com/"}],"preferences":{"a":{"email":false},"b":{"push":true}}}`},
		{"an empty patch changes nothing", `{}`, stored},
	}
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				mustPut(t, s, "acme", "u", stored)
				if _, err := s.Patch(t.Context(), "acme", "u", []byte(c.patch)); err != nil {
					t.Fatal(err)
				}
				wantStored(t, s, "acme", "u", c.want)
			})
		}
	})
}

func TestAPatchThatMakesNoProfileIsRefusedAndChangesNothing(t *testing.T) {
	cases := []struct{ name, patch, pointer, says string }{
		{"an unknown member", `{"emial":"x@example.com"}`, "/emial", `"email"`},
		{"a wrong type", `{"devices":{"a":1}}`, "/devices", "array"},
		{"a value that cannot be", `{"timezone":"Mars/Olympus"}`, "/timezone", "Mars/Olympus"},
		{"an array", `[]`, "", "object"},
	}
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		mustPut(t, s, "acme", "u", `{"name":"Ada"}`)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				_, err := s.Patch(t.Context(), "acme", "u", []byte(c.patch))
				var faults notice.Faults
				if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Pointer != c.pointer || !strings.Contains(faults[0].Detail, c.says) {
					t.Errorf("got %v, want one fault at %q that says %q", err, c.pointer, c.says)
				}
				wantStored(t, s, "acme", "u", `{"name":"Ada"}`)
			})
		}
		var syntax *notice.SyntaxError
		if _, err := s.Patch(t.Context(), "acme", "u", []byte(`{"name":`)); !errors.As(err, &syntax) {
			t.Errorf("half a patch: got %v, want a syntax error", err)
		}
	})
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		ctx := t.Context()
		_, get := s.Get(ctx, "acme", "nobody")
		_, patch := s.Patch(ctx, "acme", "nobody", []byte(`{"name":"x"}`))
		_, suppression := s.Suppression(ctx, "acme", notice.ChannelEmail, "a@example.com")
		for name, err := range map[string]error{
			"get": get, "patch": patch, "delete": s.Delete(ctx, "acme", "nobody"),
			"suppression": suppression, "unsuppress": s.Unsuppress(ctx, "acme", notice.ChannelEmail, "a@example.com"),
		} {
			if !errors.Is(err, recipients.ErrNotFound) {
				t.Errorf("%s: got %v, want ErrNotFound", name, err)
			}
		}
	})
}

func TestDeleteLeavesNothingOfThePerson(t *testing.T) {
	rdb := queuetest.Redis(t)
	s := recipients.New(rdb, "test", spread)
	mustPut(t, s, "acme", "u", `{"email":"ada@example.com"}`)
	if err := s.PutDevice(t.Context(), "acme", "u", recipients.Device{Platform: notice.PlatformIOS, Token: iosToken}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "acme", "u"); err != nil {
		t.Fatal(err)
	}
	if left := rdb.Keys(t.Context(), "*").Val(); len(left) != 0 {
		t.Errorf("keys left after the deletion: %q", left)
	}
}

func TestADeviceIsRemovedOnlyIfItWasNotRegisteredAgain(t *testing.T) {
	cases := []struct {
		name    string
		before  string // "" for the zero time
		removed bool
	}{
		{"the provider's word is older than the registration", "2026-11-05T11:59:59Z", false},
		{"the provider's word is as old as the registration", base, true},
		{"the provider's word is newer", "2026-11-05T12:00:01Z", true},
		{"nobody says when", "", true},
	}
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				if err := s.PutDevice(t.Context(), "acme", "u", recipients.Device{Platform: notice.PlatformIOS, Token: iosToken}); err != nil {
					t.Fatal(err)
				}
				var before time.Time
				if c.before != "" {
					before = moment(t, c.before)
				}
				removed, err := s.RetireDevice(t.Context(), "acme", "u", iosToken, before, "Unregistered")
				p, getErr := s.Get(t.Context(), "acme", "u")
				if err != nil || getErr != nil || removed != c.removed || (len(p.Devices) == 0) != c.removed {
					t.Errorf("removed %v, left %v, errors %v, %v; want removed %v", removed, p.Devices, err, getErr, c.removed)
				}
			})
		}
	})
}

func TestManyAtOnceRegisterAndRemoveDevicesAndNoneIsLost(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		const each = 24
		var done sync.WaitGroup
		for i := range each {
			done.Go(func() {
				keep := recipients.Device{Platform: notice.PlatformAndroid, Token: fmt.Sprintf("keep-%d", i)}
				gone := recipients.Device{Platform: notice.PlatformAndroid, Token: fmt.Sprintf("gone-%d", i)}
				if err := errors.Join(s.PutDevice(t.Context(), "acme", "u", keep), s.PutDevice(t.Context(), "acme", "u", gone)); err != nil {
					t.Error(err)
				}
				if _, err := s.RemoveDevice(t.Context(), "acme", "u", gone.Token); err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
		p, err := s.Get(t.Context(), "acme", "u")
		if err != nil {
			t.Fatal(err)
		}
		left := map[string]bool{}
		for _, d := range p.Devices {
			left[d.Token] = true
		}
		for i := range each {
			if !left[fmt.Sprintf("keep-%d", i)] || left[fmt.Sprintf("gone-%d", i)] {
				t.Errorf("pair %d: kept %v, gone one still there %v", i, left[fmt.Sprintf("keep-%d", i)], left[fmt.Sprintf("gone-%d", i)])
			}
		}
	})
}

func TestTheDeviceRegisteredLongestAgoMakesRoom(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, c *clock) {
		for i := range recipients.MaxDevices + 1 {
			if err := s.PutDevice(t.Context(), "acme", "u", recipients.Device{Platform: notice.PlatformAndroid, Token: fmt.Sprintf("d-%d", i)}); err != nil {
				t.Fatal(err)
			}
			c.advance(time.Second)
		}
		p, err := s.Get(t.Context(), "acme", "u")
		if err != nil || len(p.Devices) != recipients.MaxDevices || p.Devices[0].Token != "d-1" {
			t.Errorf("got %d devices from %q on, error %v; want %d from d-1 on", len(p.Devices), p.Devices[0].Token, err, recipients.MaxDevices)
		}
	})
}

func TestARegistrationFromTheFutureIsFromNow(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		mustPut(t, s, "acme", "u", `{"devices":[{"platform":"android","token":"a","registered_at":"2099-01-01T00:00:00Z"}]}`)
		wantStored(t, s, "acme", "u", `{"devices":[{"platform":"android","token":"a","registered_at":"2026-11-05T12:00:00Z"}]}`)
	})
}

func TestPreferencesMayBeSetForSomebodyWithoutAProfile(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		if err := s.SetPreference(t.Context(), "acme", "u", "marketing", "email", false); err != nil {
			t.Fatal(err)
		}
		wantStored(t, s, "acme", "u", `{"preferences":{"marketing":{"email":false}}}`)
		if err := s.PutPreferences(t.Context(), "acme", "u", recipients.Preferences{"*": {"push": false}}); err != nil {
			t.Fatal(err)
		}
		wantStored(t, s, "acme", "u", `{"preferences":{"*":{"push":false}}}`)
	})
}

func TestAnUnreachableStoreIsAnErrorThatNamesNobody(t *testing.T) {
	server := queuetest.Start(t)
	s := recipients.New(server.Client(), "test", spread)
	server.Kill()
	ctx := t.Context()
	_, get := s.Get(ctx, "acme", "ada@example.com")
	_, lookup := s.Lookup(ctx, []recipients.Query{{Tenant: "acme", User: "ada@example.com"}})
	put := s.Put(ctx, "acme", "ada@example.com", &recipients.Profile{Email: "ada@example.com"})
	suppress := s.Suppress(ctx, "acme", notice.ChannelEmail, "ada@example.com", "asked")
	for name, err := range map[string]error{"get": get, "lookup": lookup, "put": put, "suppress": suppress} {
		if err == nil || errors.Is(err, recipients.ErrNotFound) || strings.Contains(err.Error(), "ada@") {
			t.Errorf("%s: got %v, want an error that is not ErrNotFound and names no address", name, err)
		}
	}
}

// meanwhile is a client that lets something happen just before its first script.
type meanwhile struct {
	counter
	happens func()
}

func (m *meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if happens := m.happens; happens != nil && strings.HasPrefix(cmd.Name(), "eval") {
			m.happens = nil
			happens()
		}
		return next(ctx, cmd)
	}
}

func TestADeviceThatIsRegisteredAgainWhileItIsRemovedStays(t *testing.T) {
	server := queuetest.Start(t)
	c := &clock{now: moment(t, base)}
	app := recipients.New(server.Client(), "test", spread, recipients.WithClock(c.read))
	device := recipients.Device{Platform: notice.PlatformIOS, Token: iosToken}
	if err := app.PutDevice(t.Context(), "acme", "u", device); err != nil {
		t.Fatal(err)
	}
	slow := server.Client()
	slow.AddHook(&meanwhile{happens: func() {
		c.advance(time.Hour)
		if err := app.PutDevice(t.Context(), "acme", "u", device); err != nil {
			t.Error(err)
		}
	}})
	removed, err := recipients.New(slow, "test", spread).RetireDevice(t.Context(), "acme", "u", iosToken, moment(t, base), "Unregistered")
	if removed || err != nil {
		t.Errorf("removed %v (%v), want the new registration to stay", removed, err)
	}
	wantStored(t, app, "acme", "u", `{"devices":[{"platform":"ios","token":"`+iosToken+`","registered_at":"2026-11-05T13:00:00Z"}]}`)
}

func TestARemovedDeviceIsRememberedUntilItIsRegisteredAgain(t *testing.T) {
	device := recipients.Device{Platform: notice.PlatformIOS, Token: iosToken, App: "com.acme.app"}
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		retire := func() {
			t.Helper()
			if removed, err := s.RetireDevice(t.Context(), "acme", "u", iosToken, time.Time{}, "Unregistered"); err != nil || !removed {
				t.Fatalf("removed %v, %v", removed, err)
			}
			p, err := s.Get(t.Context(), "acme", "u")
			want := []recipients.RemovedDevice{{Platform: notice.PlatformIOS, Token: iosToken, App: "com.acme.app", Reason: "Unregistered", At: moment(t, base)}}
			if err != nil || len(p.Devices) != 0 || !reflect.DeepEqual(p.Removed, want) {
				t.Fatalf("got %+v, %v", p, err)
			}
		}
		for name, again := range map[string]func() error{
			"by POST": func() error { return s.PutDevice(t.Context(), "acme", "u", device) },
			"by PUT": func() error {
				return s.Put(t.Context(), "acme", "u", &recipients.Profile{Devices: []recipients.Device{device}})
			},
			"by PATCH": func() error {
				_, err := s.Patch(t.Context(), "acme", "u", []byte(`{"devices":[{"platform":"ios","token":"`+iosToken+`","app":"com.acme.app"}]}`))
				return err
			},
		} {
			if err := s.PutDevice(t.Context(), "acme", "u", device); err != nil {
				t.Fatal(err)
			}
			retire()
			if err := s.Put(t.Context(), "acme", "u", &recipients.Profile{Name: "Ada", Removed: []recipients.RemovedDevice{{Token: "made up"}}}); err != nil {
				t.Fatal(err)
			}
			if p, _ := s.Get(t.Context(), "acme", "u"); len(p.Removed) != 1 || p.Removed[0].Token != iosToken {
				t.Errorf("a PUT without the device leaves %+v", p.Removed)
			}
			if err := again(); err != nil {
				t.Fatal(err)
			}
			if p, _ := s.Get(t.Context(), "acme", "u"); len(p.Devices) != 1 || len(p.Removed) != 0 {
				t.Errorf("%s: registered again it is %+v", name, p)
			}
		}
	})
}

func TestOfManyRemovedDevicesTheLatestAreRemembered(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		for i := range recipients.MaxRemoved + 3 {
			token := fmt.Sprintf("token-%d", i)
			if err := s.PutDevice(t.Context(), "acme", "u", recipients.Device{Platform: notice.PlatformAndroid, Token: token}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.RetireDevice(t.Context(), "acme", "u", token, time.Time{}, "UNREGISTERED"); err != nil {
				t.Fatal(err)
			}
		}
		p, err := s.Get(t.Context(), "acme", "u")
		if err != nil || len(p.Removed) != recipients.MaxRemoved || p.Removed[0].Token != "token-3" {
			t.Errorf("got %+v, %v", p, err)
		}
	})
}
