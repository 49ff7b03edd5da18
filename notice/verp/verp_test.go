package verp_test

import (
	"strings"
	"testing"

	"github.com/carillonhq/carillon/notice/verp"
)

const (
	delivery = "0-06h0fb55798unvn7agmd-1"
	secret   = "0123456789abcdef0123456789abcdef"
)

func keys(t testing.TB, secrets ...string) *verp.Keys {
	t.Helper()
	var all [][]byte
	for _, s := range secrets {
		all = append(all, []byte(s))
	}
	k, err := verp.NewKeys(all...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestATokenConfirmsItsOwnMailAlone(t *testing.T) {
	k := keys(t, secret)
	token := k.Token(verp.Mail{Tenant: "acme", Delivery: delivery, Address: "ada@example.com"})
	claim, err := k.Open(strings.ToUpper(token)) // servers on the way may change case
	if err != nil || claim.Delivery != delivery {
		t.Fatalf("Open(%q) = %+v, %v", token, claim, err)
	}
	for _, c := range []struct {
		name, tenant, address string
		want                  bool
	}{
		{"the address itself", "acme", "ada@example.com", true},
		{"the address in capitals and brackets", "acme", "<ADA@Example.COM>", true},
		{"another address", "acme", "bob@example.com", false},
		{"another domain", "acme", "ada@example.org", false},
		{"another tenant", "globex", "ada@example.com", false},
		{"no address", "acme", "", false},
		{"a tenant that takes the address's first letter", "acmea", "da@example.com", false},
	} {
		if got := claim.Confirms(c.tenant, c.address); got != c.want {
			t.Errorf("%s: Confirms(%q, %q) = %v", c.name, c.tenant, c.address, got)
		}
	}
	if (verp.Claim{}).Confirms("acme", "ada@example.com") {
		t.Error("the zero claim confirms")
	}
}

func TestAnInternationalDomainIsConfirmedInEitherAlphabet(t *testing.T) {
	k := keys(t, secret)
	claim, err := k.Open(k.Token(verp.Mail{Tenant: "acme", Delivery: delivery, Address: "ada@bücher.example"}))
	if err != nil || !claim.Confirms("acme", "ada@xn--bcher-kva.example") {
		t.Errorf("the ASCII form is not confirmed (%v)", err)
	}
}

func TestWhatWasNotMadeHereIsRefused(t *testing.T) {
	k := keys(t, secret)
	token := k.Token(verp.Mail{Tenant: "acme", Delivery: delivery, Address: "ada@example.com"})
	for name, forged := range map[string]string{
		"empty":                    "",
		"no tag":                   delivery,
		"another key's":            keys(t, strings.Repeat("x", 32)).Token(verp.Mail{Tenant: "acme", Delivery: delivery, Address: "ada@example.com"}),
		"of another delivery":      strings.Replace(token, "-1-", "-2-", 1),
		"of a notification":        strings.Replace(token, "-1-", "-", 1),
		"cut short":                token[:len(token)-1],
		"longer":                   token + "0",
		"of letters alone":         strings.Repeat("a", len(token)),
		"with a first tag guessed": token[:len(token)-23] + "0000000" + token[len(token)-16:],
	} {
		if claim, err := k.Open(forged); err == nil {
			t.Errorf("%s: %q opens as %+v", name, forged, claim)
		}
	}
}

func TestAnotherSecondTagConfirmsNobody(t *testing.T) {
	k := keys(t, secret)
	token := k.Token(verp.Mail{Tenant: "acme", Delivery: delivery, Address: "ada@example.com"})
	claim, err := k.Open(token[:len(token)-16] + strings.Repeat("0", 16))
	if err != nil || claim.Confirms("acme", "ada@example.com") {
		t.Errorf("Open: %v; a guessed tag must not confirm", err)
	}
}

func TestAPreviousSecretStillReads(t *testing.T) {
	old, now := keys(t, secret), keys(t, strings.Repeat("n", 32), secret)
	claim, err := now.Open(old.Token(verp.Mail{Tenant: "acme", Delivery: delivery, Address: "ada@example.com"}))
	if err != nil || !claim.Confirms("acme", "ada@example.com") {
		t.Errorf("a token of the key before is not read: %v", err)
	}
}

func TestTheLocalPartFits(t *testing.T) {
	p, ok := verp.NewPath("bounce+{verp}@bounces.acme.example")
	if !ok {
		t.Fatal("no placeholder found")
	}
	longest := "4095-06h0fb55798unvn7agmd-99"
	address := p.Address(keys(t, secret).Token(verp.Mail{Tenant: strings.Repeat("t", 64), Delivery: longest, Address: strings.Repeat("a", 60) + "@example.com"}))
	if local, _, _ := strings.Cut(address, "@"); len(local) > verp.MaxLocal {
		t.Errorf("the local part has %d characters: %s", len(local), local)
	}
	if token, ok := p.Find("<BOUNCE+" + strings.TrimPrefix(address, "bounce+") + ">"); !ok || p.Address(token) != address {
		t.Errorf("Find(%q) = %q, %v", address, token, ok)
	}
	for _, other := range []string{"", "bounce+@bounces.acme.example", "other+x@bounces.acme.example", "bounce+x@acme.example", "bounce+"} {
		if token, ok := p.Find(other); ok {
			t.Errorf("Find(%q) = %q", other, token)
		}
	}
}

func FuzzOpen(f *testing.F) {
	k := keys(f, secret)
	f.Add(k.Token(verp.Mail{Tenant: "acme", Delivery: delivery, Address: "ada@example.com"}))
	f.Add("0-06h0fb55798unvn7agmd-1-")
	f.Fuzz(func(t *testing.T, token string) {
		claim, err := k.Open(token)
		if (err == nil) != (claim.Delivery != "") {
			t.Errorf("Open(%q) = %+v, %v", token, claim, err)
		}
	})
}

func BenchmarkToken(b *testing.B) {
	k := keys(b, secret)
	for b.Loop() {
		k.Token(verp.Mail{Tenant: "acme", Delivery: delivery, Address: "ada@example.com"})
	}
}
