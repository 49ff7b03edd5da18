package recipients_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
)

var fiveIn14Days = recipients.SoftLimit{Count: 5, Within: 14 * 24 * time.Hour}

// take takes a report in at the clock's time.
func take(t *testing.T, s *recipients.Store, c *clock, f notice.Feedback) bool {
	t.Helper()
	f.Tenant = "acme"
	if f.Address == "" {
		f.Address = "ada@example.com"
	}
	if f.At.IsZero() {
		f.At = c.read()
	}
	suppressed, err := s.TakeFeedback(t.Context(), f, fiveIn14Days)
	if err != nil {
		t.Fatal(err)
	}
	return suppressed
}

func suppressionOf(t *testing.T, s *recipients.Store) recipients.Suppression {
	t.Helper()
	found, _ := s.Suppression(t.Context(), "acme", notice.ChannelEmail, "ada@example.com") // none: the zero one
	return found
}

func TestAHardBounceSuppressesItsAddress(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, c *clock) {
		f := notice.Feedback{Kind: notice.FeedbackHard, Address: "ADA@Example.com", Code: "5.1.1", Detail: "User unknown"}
		if !take(t, s, c, f) {
			t.Error("it says nothing was suppressed")
		}
		want := recipients.Suppression{Reason: "bounced: 5.1.1 User unknown", Kind: recipients.KindBounce, At: c.read()}
		if got := suppressionOf(t, s); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		c.advance(time.Hour)
		if take(t, s, c, f) {
			t.Error("the same bounce again says that it suppressed")
		}
		if got := suppressionOf(t, s); got != want {
			t.Errorf("the second bounce changed it to %+v", got)
		}
	})
}

func TestAStrongerSuppressionStays(t *testing.T) {
	hard := notice.Feedback{Kind: notice.FeedbackHard, Code: "5.1.1"}
	complaint := notice.Feedback{Kind: notice.FeedbackComplaint, Code: "abuse"}
	for _, test := range []struct {
		name          string
		manual        bool
		first, second notice.Feedback
		want          string
	}{
		{"a complaint after a hard bounce", false, hard, complaint, "bounced: 5.1.1"},
		{"a hard bounce after a complaint", false, complaint, hard, "bounced: 5.1.1"},
		{"a complaint alone", false, complaint, complaint, "complained: abuse"},
		{"a hard bounce of an address that somebody suppressed", true, hard, hard, `says "kind":"complaint"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, s *recipients.Store, c *clock) {
				if test.manual {
					if err := s.Suppress(t.Context(), "acme", notice.ChannelEmail, "ada@example.com", `says "kind":"complaint"`); err != nil {
						t.Fatal(err)
					}
				}
				take(t, s, c, test.first)
				take(t, s, c, test.second)
				if got := suppressionOf(t, s).Reason; got != test.want {
					t.Errorf("the reason is %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestFiveSoftBouncesSuppress(t *testing.T) {
	soft := func(i int) notice.Feedback {
		return notice.Feedback{Kind: notice.FeedbackSoft, Code: "4.2.2", Delivery: fmt.Sprintf("0-06h0fb55798unvn7agmd-%d", i)}
	}
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s *recipients.Store, c *clock) (last bool)
		want bool
	}{
		{"within 14 days", func(t *testing.T, s *recipients.Store, c *clock) (last bool) {
			for i := range 5 {
				c.advance(24 * time.Hour)
				last = take(t, s, c, soft(i))
				if last && i < 4 {
					t.Errorf("suppressed by bounce %d", i+1)
				}
			}
			return last
		}, true},
		{"not when the first is longer ago", func(t *testing.T, s *recipients.Store, c *clock) (last bool) {
			for i := range 5 {
				c.advance(4 * 24 * time.Hour)
				last = take(t, s, c, soft(i))
			}
			return last
		}, false},
		{"not when one of them is told five times", func(t *testing.T, s *recipients.Store, c *clock) (last bool) {
			f := soft(1)
			f.Event = "report-1"
			for range 6 {
				c.advance(time.Hour)
				last = take(t, s, c, f)
			}
			return last
		}, false},
		{"not with a delivery in between", func(t *testing.T, s *recipients.Store, c *clock) (last bool) {
			for i := range 7 {
				c.advance(time.Hour)
				if i == 3 {
					take(t, s, c, notice.Feedback{Kind: notice.FeedbackDelivery})
				}
				last = take(t, s, c, soft(i))
			}
			return last
		}, false},
		{"in spite of a delivery before them that is told late", func(t *testing.T, s *recipients.Store, c *clock) (last bool) {
			before := c.read()
			for i := range 5 {
				c.advance(time.Hour)
				if i == 4 {
					take(t, s, c, notice.Feedback{Kind: notice.FeedbackDelivery, At: before})
				}
				last = take(t, s, c, soft(i))
			}
			return last
		}, true},
		{"not when they are refusals for policy", func(t *testing.T, s *recipients.Store, c *clock) (last bool) {
			for i := range 9 {
				f := soft(i)
				f.Kind = notice.FeedbackBlocked
				last = take(t, s, c, f) || last
			}
			return last
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, s *recipients.Store, c *clock) {
				last := test.run(t, s, c)
				got := suppressionOf(t, s)
				if last != test.want || (got.Reason != "") != test.want {
					t.Errorf("suppressed %v with %+v, want %v", last, got, test.want)
				}
				if test.want && (got.Kind != recipients.KindBounce || got.Reason != "bounced 5 times: 4.2.2") {
					t.Errorf("the suppression is %+v", got)
				}
			})
		})
	}
}

func TestAReportIsRememberedForItsLife(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		if taken, err := s.ReportTaken(t.Context(), "d1"); taken || err != nil {
			t.Errorf("before: %v, %v", taken, err)
		}
		if err := s.KeepReport(t.Context(), "d1", time.Hour); err != nil {
			t.Fatal(err)
		}
		if taken, err := s.ReportTaken(t.Context(), "d1"); !taken || err != nil {
			t.Errorf("after: %v, %v", taken, err)
		}
	})
}

func TestWordsThatAreTooLongAreCutNotRefused(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, c *clock) {
		take(t, s, c, notice.Feedback{Kind: notice.FeedbackHard, Code: "5.1.1", Detail: strings.Repeat("ü", 300)})
		if got := suppressionOf(t, s).Reason; len(got) < 200 || len(got) > 256 {
			t.Errorf("the reason has %d bytes: %q", len(got), got)
		}
	})
}
