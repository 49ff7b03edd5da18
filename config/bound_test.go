package config_test

import (
	"testing"

	"github.com/carillonhq/carillon/config"
)

func TestABoundIsAShareOrASizeAndIsReadBackAsItIsWritten(t *testing.T) {
	const total = 1000
	for text, want := range map[string]int64{"70%": 700, "1%": 10, "100%": 1000, "512": 512, "2GiB": 2 << 30} {
		b, err := config.ParseBound(text)
		if err != nil || b.String() != text || b.Of(total) != want {
			t.Errorf("%s: %+v, written %q, of %d: %d, %v", text, b, b, total, b.Of(total), err)
		}
	}
	for _, text := range []string{"", "0", "0%", "101%", "-5%", "7.5%", "70 %", "%", "much"} {
		if b, err := config.ParseBound(text); err == nil {
			t.Errorf("%q is taken as %+v", text, b)
		}
	}
}

func TestAShareOfNothingIsNoBound(t *testing.T) {
	if got := (config.Bound{Percent: 70}).Of(0); got != 0 {
		t.Errorf("70%% of nothing is %d", got)
	}
	if !(config.Bound{}).IsZero() || (config.Bound{Bytes: 1}).IsZero() {
		t.Error("only the zero bound is none")
	}
}
