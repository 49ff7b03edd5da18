package recipients_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/recipients"
)

func hasLeft(t *testing.T, s *recipients.Store, tenant, address, category string) bool {
	t.Helper()
	q := recipients.Query{Tenant: tenant, Addresses: []notice.Address{mail(address)}}
	return lookup(t, s, q)[0].Left(mail(address), category)
}

func TestAnAddressLeavesOneCategoryHoweverItIsSpelt(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		for range 2 { // twice is as good as once
			if err := s.OptOut(t.Context(), "acme", "Ada@Bücher.example", "marketing"); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			tenant, address, category string
			want                      bool
		}{
			{"acme", "ada@xn--bcher-kva.example", "marketing", true},
			{"acme", "ada@bücher.example", "shipping", false},
			{"acme", "ada@bücher.example", "", false},
			{"acme", "bob@bücher.example", "marketing", false},
			{"other", "ada@bücher.example", "marketing", false},
		} {
			if got := hasLeft(t, s, c.tenant, c.address, c.category); got != c.want {
				t.Errorf("%+v: left is %v", c, got)
			}
		}
		if err := s.OptIn(t.Context(), "acme", "ada@bücher.example", "marketing"); err != nil {
			t.Fatal(err)
		}
		if hasLeft(t, s, "acme", "ada@bücher.example", "marketing") {
			t.Error("taking it back has no effect")
		}
	})
}

func TestTheAddressOfAProfileIsAskedForToo(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		mustPut(t, s, "acme", "u1", `{"email":"ada@example.com"}`)
		if err := s.OptOut(t.Context(), "acme", "ada@example.com", "marketing"); err != nil {
			t.Fatal(err)
		}
		found := lookup(t, s, recipients.Query{Tenant: "acme", User: "u1"})[0]
		if !found.Left(mail("ada@example.com"), "marketing") {
			t.Error("what its reader left is mailed when it stands in a profile")
		}
	})
}

func TestOptOutsOfTheSameMomentAreAllKept(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		var leaving sync.WaitGroup
		for i := range 16 {
			leaving.Go(func() {
				if err := s.OptOut(t.Context(), "acme", "ada@example.com", fmt.Sprintf("c%d", i)); err != nil {
					t.Error(err)
				}
			})
		}
		leaving.Wait()
		for i := range 16 {
			if !hasLeft(t, s, "acme", "ada@example.com", fmt.Sprintf("c%d", i)) {
				t.Errorf("c%d was lost", i)
			}
		}
	})
}

func TestWhatIsNoOptOutIsRefused(t *testing.T) {
	eachStore(t, func(t *testing.T, s *recipients.Store, _ *clock) {
		for _, c := range [][2]string{{"ada@example.com", ""}, {"ada@example.com", "a b"}, {"nobody", "marketing"}, {"", "marketing"}} {
			if err := s.OptOut(t.Context(), "acme", c[0], c[1]); !errors.As(err, new(notice.Faults)) {
				t.Errorf("%q from %q: %v", c[0], c[1], err)
			}
		}
		for i := range recipients.MaxCategories {
			if err := s.OptOut(t.Context(), "acme", "ada@example.com", fmt.Sprintf("c%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.OptOut(t.Context(), "acme", "ada@example.com", "one-more"); !errors.As(err, new(notice.Faults)) {
			t.Errorf("more categories than a profile may have: %v", err)
		}
	})
}
