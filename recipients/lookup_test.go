package recipients_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/recipients"
)

func mail(address string) notice.Address {
	return notice.Address{Channel: notice.ChannelEmail, To: address}
}

func lookup(t testing.TB, s *recipients.Store, queries ...recipients.Query) []recipients.Found {
	t.Helper()
	found, err := s.Lookup(t.Context(), queries)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestLookupAnswersEachQueryInItsPlace(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		var queries []recipients.Query
		for i := range 256 {
			user := fmt.Sprintf("u%d", i)
			queries = append(queries, recipients.Query{Tenant: "acme", User: user})
			if i%3 == 0 {
				mustPut(t, s, "acme", user, fmt.Sprintf(`{"name":"name of %s"}`, user))
			}
		}
		for i, f := range lookup(t, s, queries...) {
			if stored := i%3 == 0; stored != (f.Profile != nil) || stored && f.Profile.Name != "name of "+queries[i].User {
				t.Errorf("query %d: got profile %+v, stored: %v", i, f.Profile, stored)
			}
		}
	})
}

func TestAnAddressIsSuppressedHoweverItIsSpelt(t *testing.T) {
	subscription := func(rest string) string {
		return `{"endpoint":"https://push.example.com/send/abc"` + rest + `}`
	}
	cases := []struct {
		name             string
		channel          notice.Channel
		suppressed, used string
		want             bool
	}{
		{"the same mailbox", notice.ChannelEmail, "ada@example.com", "ada@example.com", true},
		{"a mailbox in capitals", notice.ChannelEmail, "Ada@Example.COM", "ada@example.com", true},
		{"a domain in Unicode and in ASCII", notice.ChannelEmail, "ada@bücher.example", "ADA@XN--BCHER-KVA.example", true},
		{"another mailbox", notice.ChannelEmail, "ada@example.com", "eva@example.com", false},
		{"an iOS token in other hex", notice.ChannelAPNs, strings.ToUpper(iosToken), iosToken, true},
		{"an FCM token keeps its case", notice.ChannelFCM, "AbC", "abc", false},
		{"a browser with other keys", notice.ChannelWebPush, subscription(`,"keys":{"auth":"x"}`), subscription(""), true},
		{"a host in capitals", notice.ChannelWebhook, "HTTPS://Example.com", "https://example.com/", true},
		{"a path keeps its case", notice.ChannelWebhook, "https://example.com/A", "https://example.com/a", false},
	}
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				if err := s.Suppress(t.Context(), "acme", c.channel, c.suppressed, "why"); err != nil {
					t.Fatal(err)
				}
				address := notice.Address{Channel: c.channel, To: c.used}
				found := lookup(t, s, recipients.Query{Tenant: "acme", Addresses: []notice.Address{address}})
				got, ok := found[0].Suppressed(address)
				if ok != c.want || ok && got.Reason != "why" {
					t.Errorf("%q after suppressing %q: suppressed %v (%q), want %v", c.used, c.suppressed, ok, got.Reason, c.want)
				}
				if err := s.Unsuppress(t.Context(), "acme", c.channel, c.suppressed); err != nil {
					t.Fatal(err)
				}
				found = lookup(t, s, recipients.Query{Tenant: "acme", Addresses: []notice.Address{address}})
				if _, ok := found[0].Suppressed(address); ok {
					t.Errorf("%q is suppressed still", c.used)
				}
			})
		}
	})
}

func TestASuppressionHoldsForOneTenantAndChannelOnly(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		if err := s.Suppress(t.Context(), "acme", notice.ChannelFCM, "token", "gone"); err != nil {
			t.Fatal(err)
		}
		for _, q := range []struct {
			tenant  string
			channel notice.Channel
			want    bool
		}{{"acme", notice.ChannelFCM, true}, {"other", notice.ChannelFCM, false}, {"acme", notice.ChannelAPNs, false}} {
			address := notice.Address{Channel: q.channel, To: "token"}
			found := lookup(t, s, recipients.Query{Tenant: q.tenant, Addresses: []notice.Address{address}})
			if _, got := found[0].Suppressed(address); got != q.want {
				t.Errorf("tenant %s, channel %s: suppressed %v, want %v", q.tenant, q.channel, got, q.want)
			}
		}
	})
}

func TestTheProfilesAddressesAreLookedUpWhereTheQueryHasNoneOfTheirMedium(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		mustPut(t, s, "acme", "u", `{"email":"old@example.com","devices":[{"platform":"android","token":"t"}],"webhooks":[{"url":"https://example.com/h"}]}`)
		token := notice.Address{Channel: notice.ChannelFCM, To: "t"}
		hook := notice.Address{Channel: notice.ChannelWebhook, To: "https://example.com/h"}
		for _, a := range []notice.Address{mail("old@example.com"), token, hook} {
			if err := s.Suppress(t.Context(), "acme", a.Channel, a.To, "bounced"); err != nil {
				t.Fatal(err)
			}
		}
		stored := lookup(t, s, recipients.Query{Tenant: "acme", User: "u"})[0]
		for _, a := range stored.Profile.Addresses() {
			if _, ok := stored.Suppressed(a); !ok {
				t.Errorf("the profile's address on %s is not suppressed", a.Channel)
			}
		}
		inline := lookup(t, s, recipients.Query{Tenant: "acme", User: "u", Addresses: []notice.Address{mail("new@example.com")}})[0]
		if _, ok := inline.Suppressed(mail("new@example.com")); ok {
			t.Error("the address given inline is suppressed, want the profile's only")
		}
		if _, ok := inline.Suppressed(token); !ok {
			t.Error("the profile's device is not suppressed beside an inline mail address")
		}
	})
}

func TestOneUnreadableProfileIsNobodyElsesTrouble(t *testing.T) {
	rdb := queuetest.Redis(t)
	s := recipients.New(rdb, "test", func(string, string) int { return 0 })
	mustPut(t, s, "acme", "good", `{"name":"Ada"}`)
	rdb.Set(t.Context(), "{test:0}:u:acme:bad", `{"email":["secret@example.com"]}`, 0)
	found := lookup(t, s, recipients.Query{Tenant: "acme", User: "bad"}, recipients.Query{Tenant: "acme", User: "good"})
	if found[0].Err == nil || strings.Contains(found[0].Err.Error(), "secret@") || found[1].Err != nil || found[1].Profile.Name != "Ada" {
		t.Errorf("bad: %v; good: %+v, %v", found[0].Err, found[1].Profile, found[1].Err)
	}
}

// counter counts the commands and round trips of a client.
type counter struct{ commands, trips int }

func (c *counter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.commands, c.trips = c.commands+1, c.trips+1
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.commands, c.trips = c.commands+len(cmds), c.trips+1
		return next(ctx, cmds)
	}
}

func TestABatchCostsOneRoundTripOfOneCommandAPartition(t *testing.T) {
	rdb := queuetest.Redis(t)
	s := recipients.New(rdb, "test", spread)
	lookup(t, s, recipients.Query{Tenant: "acme", User: "warm"}) // opens the connection
	var count counter
	rdb.AddHook(&count)
	lookup(t, s, queries(256)...)
	if count.trips != 1 || count.commands > 4 {
		t.Errorf("256 queries over 4 partitions with nothing stored: %d commands in %d round trips, want at most 4 in 1", count.commands, count.trips)
	}
	mustPut(t, s, "acme", "u7", `{"email":"ada@example.com","devices":[{"platform":"android","token":"t"}]}`)
	count = counter{}
	lookup(t, s, recipients.Query{Tenant: "acme", User: "u7"})
	if count.trips != 2 {
		t.Errorf("addresses from a profile: %d round trips, want 2", count.trips)
	}
	count = counter{}
	lookup(t, s, recipients.Query{}, recipients.Query{Tenant: "acme"})
	if count.trips != 0 {
		t.Errorf("nothing to ask: %d round trips, want none", count.trips)
	}
}

func queries(n int) []recipients.Query {
	all := make([]recipients.Query, n)
	for i := range all {
		all[i] = recipients.Query{Tenant: "acme", User: fmt.Sprintf("u%d", i), Addresses: []notice.Address{mail(fmt.Sprintf("u%d@example.com", i))}}
	}
	return all
}

// BenchmarkLookup is what one notification of a batch of 256 costs.
func BenchmarkLookup(b *testing.B) {
	for _, stored := range []bool{false, true} {
		b.Run(fmt.Sprintf("stored=%v", stored), func(b *testing.B) {
			rdb := queuetest.Redis(b)
			s := recipients.New(rdb, "bench", spread)
			asked := queries(256)
			if stored {
				for i := range asked {
					mustPut(b, s, "acme", asked[i].User, `{"email":"ada@example.com","name":"Ada","locale":"de","timezone":"Europe/Berlin","preferences":{"marketing":{"*":false}}}`)
					asked[i].Addresses = nil
				}
			}
			lookup(b, s, asked...)
			var count counter
			rdb.AddHook(&count)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				lookup(b, s, asked...)
			}
			n := float64(b.N * len(asked))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/notification")
			b.ReportMetric(float64(count.commands)/n, "commands/notification")
		})
	}
}
