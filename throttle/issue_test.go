package throttle_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/queue/queuetest"
	"github.com/carillonhq/carillon/throttle"
)

const issuedKey = "{test:issued}:TEAM/KEY"

func newIssues(rdb redis.UniversalClient) *throttle.Issues {
	return throttle.NewIssues(rdb, "test", 40*time.Minute, 20*time.Minute)
}

// TestConsumersAgreeOnWhenATokenWasIssued stores a moment, or none, and asks.
func TestConsumersAgreeOnWhenATokenWasIssued(t *testing.T) {
	rdb := queuetest.Redis(t)
	const minute = int64(60)
	for name, tc := range map[string]struct {
		stored, proposed, refused int64 // ages in seconds; 0: none
		want                      int64 // age
	}{
		"the first one issues it":                       {0, 0, 0, 0},
		"one that has a token keeps it":                 {0, 15 * minute, 0, 15 * minute},
		"but not an old one":                            {0, 40 * minute, 0, 0},
		"nor one that is refused":                       {0, 15 * minute, 15 * minute, 0},
		"nor one of the future":                         {0, -5 * minute, 0, 0},
		"the others take what is there":                 {10 * minute, 0, 0, 10 * minute},
		"whatever they have themselves":                 {10 * minute, 30 * minute, 0, 10 * minute},
		"what is too old is issued again":               {40 * minute, 0, 0, 0},
		"what is refused is, after twenty minutes":      {20 * minute, 20 * minute, 20 * minute, 0},
		"not before":                                    {19 * minute, 19 * minute, 19 * minute, 19 * minute},
		"a refusal of the one before changes nothing":   {25 * minute, 50 * minute, 50 * minute, 25 * minute},
		"a clock that was set back begins again":        {-5 * minute, 0, 0, 0},
		"and takes a proposal in place of what is none": {-5 * minute, 5 * minute, 0, 5 * minute},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := rdb.Time(t.Context()).Result()
			if err != nil {
				t.Fatal(err)
			}
			moment := func(age int64) time.Time {
				if age == 0 {
					return time.Time{}
				}
				return time.Unix(server.Unix()-age, 0)
			}
			rdb.Del(t.Context(), issuedKey)
			if tc.stored != 0 {
				rdb.Set(t.Context(), issuedKey, moment(tc.stored).Unix(), 0)
			}
			at, age, err := newIssues(rdb).Issued(t.Context(), "TEAM/KEY", moment(tc.proposed), moment(tc.refused))
			if err != nil {
				t.Fatal(err)
			}
			late := server.Unix() - tc.want - at.Unix() // a second or two may pass meanwhile
			if late > 0 || late < -2 || age.Seconds() < float64(tc.want) || age.Seconds() > float64(tc.want+2) {
				t.Errorf("issued %v ago (age %v), want %v", server.Sub(at), age, tc.want)
			}
			if kept, err := rdb.Get(t.Context(), issuedKey).Result(); err != nil || kept != strconv.FormatInt(at.Unix(), 10) {
				t.Errorf("kept %q, %v", kept, err)
			}
		})
	}
}

func TestManyThatAskAtOnceGetOneMoment(t *testing.T) {
	eachStore(t, func(t *testing.T, rdb redis.UniversalClient) {
		got := make(chan time.Time, 32)
		for range cap(got) {
			go func() {
				at, _, err := newIssues(rdb).Issued(t.Context(), "TEAM/KEY", time.Time{}, time.Time{})
				if err != nil {
					t.Error(err)
				}
				got <- at
			}()
		}
		first := <-got
		for range cap(got) - 1 {
			if next := <-got; !next.Equal(first) {
				t.Errorf("%v and %v", first, next)
			}
		}
		if ttl := rdb.TTL(t.Context(), issuedKey).Val(); ttl < 79*time.Minute || ttl > 80*time.Minute {
			t.Errorf("it is kept for %v", ttl)
		}
	})
}

func TestAnIssuerThatIsAwaySaysSo(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { rdb.Close() })
	if _, _, err := newIssues(rdb).Issued(t.Context(), "TEAM/KEY", time.Time{}, time.Time{}); err == nil {
		t.Error("no error without Redis")
	}
}
