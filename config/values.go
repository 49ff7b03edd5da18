package config

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Secret is a value that is never printed: its String, its logs and its YAML
// say only that it is there.
type Secret struct{ value string }

// NewSecret wraps a resolved value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal is the secret itself.
func (s Secret) Reveal() string { return s.value }

// String hides the value, and tells only whether there is one.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return "[redacted]"
}

// Format is String for every verb: %d and %#v hide the value too.
func (s Secret) Format(f fmt.State, verb rune) { formatHidden(f, verb, s.String()) }

// MarshalText is String, so that every encoder hides the value.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// URL is an address that may hold a password, which is never printed.
type URL struct{ value string }

// NewURL wraps a resolved address.
func NewURL(value string) URL { return URL{value} }

// Reveal is the whole address, password included.
func (u URL) Reveal() string { return u.value }

// String is the address with its password hidden.
func (u URL) String() string {
	p, err := url.Parse(u.value)
	if err != nil {
		return "[unreadable URL]"
	}
	return p.Redacted()
}

// Format is String for every verb: %d and %#v hide the password too.
func (u URL) Format(f fmt.State, verb rune) { formatHidden(f, verb, u.String()) }

func formatHidden(f fmt.State, verb rune, shown string) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), shown)
}

// MarshalText is String, so that every encoder hides the password.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// The spellings of values, in words that follow a wrong one.
const (
	durationForm = "is no duration: write it as 15s, 2m, 24h or 7d"
	sizeForm     = "is no size: write it as 512, 64KiB, 1MiB or 2GB"
	rateForm     = "is no rate: write it as 100/s, 10/1m or 3/24h"
	boundForm    = "is neither a share nor a size: write it as 70% or 2GiB"
)

// Duration is a time.Duration written as 15s, 2m, 24h or 7d.
type Duration time.Duration

// Std is d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// ParseDuration reads 15s, 1h30m and, beyond the standard library's units, 7d.
func ParseDuration(s string) (Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err == nil && n >= 0 && n <= 36500 {
			return Duration(time.Duration(n) * 24 * time.Hour), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q %s", s, durationForm)
	}
	return Duration(d), nil
}

// String is the shortest spelling that ParseDuration reads back.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Size is a number of bytes written as 64KiB, 1MiB, 2GB or 512.
type Size int64

// ParseSize reads a Size.
func ParseSize(s string) (Size, error) {
	num := strings.TrimRight(s, "KMGTiBb ")
	unit := strings.TrimSpace(s[len(num):])
	factor, ok := map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
	n, err := strconv.ParseInt(strings.TrimSpace(num), 10, 64)
	if !ok || err != nil || n < 0 || n > (1<<62)/factor {
		return 0, fmt.Errorf("%q %s", s, sizeForm)
	}
	return Size(n * factor), nil
}

// String is the shortest spelling that ParseSize reads back.
func (s Size) String() string {
	for _, u := range []struct {
		name   string
		factor Size
	}{{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}} {
		if s >= u.factor && s%u.factor == 0 {
			return strconv.FormatInt(int64(s/u.factor), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Rate is a number in a time, written as 100/s, 3/24h or 1/10m. The zero Rate
// is no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// ParseRate reads a Rate.
func ParseRate(s string) (Rate, error) {
	rate, wrong := readRate(s)
	if wrong != "" {
		return Rate{}, fmt.Errorf("%q %s", s, wrong)
	}
	return rate, nil
}

// readRate reads a Rate, or says what is wrong with it, in words that follow s.
func readRate(s string) (rate Rate, wrong string) {
	count, per, ok := strings.Cut(s, "/")
	if !ok {
		return Rate{}, rateForm
	}
	n, wrong := readCount(strings.TrimSpace(count))
	if wrong != "" {
		return Rate{}, wrong
	}
	per = strings.TrimSpace(per)
	if per != "" && (per[0] < '0' || per[0] > '9') {
		per = "1" + per
	}
	switch d, err := ParseDuration(per); {
	case err != nil:
		return Rate{}, rateForm
	case d <= 0:
		return Rate{}, "is in no time at all, which nothing can be counted in: write it as 100/s, 10/1m or 3/24h"
	default:
		return Rate{Count: n, Per: d.Std()}, ""
	}
}

// readCount reads what stands before a rate's slash.
func readCount(s string) (n int, wrong string) {
	switch n, err := strconv.Atoi(s); {
	case errors.Is(err, strconv.ErrRange):
		return 0, "is too much to count: write it as 999999999/s at most"
	case isNumber(s) && err != nil:
		return 0, "has no whole number as its count: write it as 3/2h in place of 1.5/h, as 1000/s in place of 1e3/s"
	case err != nil:
		return 0, rateForm
	case n <= 0:
		return 0, "lets nothing through: write it as 1/24h or more, or leave it out for no limit"
	case n > mostOfRate:
		return 0, "is too much to count: write it as 999999999/s at most"
	default:
		return n, ""
	}
}

// mostOfRate is the largest count of a rate: with it every sum of permits is
// exact in a float64, which is what Redis' scripts reckon in.
const mostOfRate = 999_999_999

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// IsZero reports whether r is no limit.
func (r Rate) IsZero() bool { return r.Count == 0 }

// PerSecond is r as a number of events a second.
func (r Rate) PerSecond() float64 { return float64(r.Count) / r.Per.Seconds() }

// String is the spelling that ParseRate reads back; empty for no limit.
func (r Rate) String() string {
	if r.IsZero() {
		return ""
	}
	per := Duration(r.Per).String()
	switch r.Per {
	case time.Second, time.Minute, time.Hour:
		per = per[1:]
	}
	return strconv.Itoa(r.Count) + "/" + per
}

// MarshalText is String.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Bound is an amount of memory, written as a share of what there is, 70%, or as
// a size, 2GiB. The zero Bound is none.
type Bound struct {
	Percent int  // 1 to 100; 0: Bytes says it
	Bytes   Size // 0: Percent says it
}

// ParseBound reads a Bound.
func ParseBound(s string) (Bound, error) {
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		n, err := strconv.Atoi(percent)
		if err != nil || n < 1 || n > 100 {
			return Bound{}, fmt.Errorf("%q %s", s, boundForm)
		}
		return Bound{Percent: n}, nil
	}
	size, err := ParseSize(s)
	if err != nil || size == 0 {
		return Bound{}, fmt.Errorf("%q %s", s, boundForm)
	}
	return Bound{Bytes: size}, nil
}

// IsZero reports whether b is no bound.
func (b Bound) IsZero() bool { return b == Bound{} }

// Of is the bound in bytes where there are so many; 0 for none, which a share
// of nothing is too.
func (b Bound) Of(total int64) int64 {
	if b.Percent > 0 {
		return total / 100 * int64(b.Percent)
	}
	return int64(b.Bytes)
}

// String is the spelling that ParseBound reads back; empty for none.
func (b Bound) String() string {
	switch {
	case b.Percent > 0:
		return strconv.Itoa(b.Percent) + "%"
	case b.Bytes > 0:
		return b.Bytes.String()
	}
	return ""
}

// MarshalText is String.
func (b Bound) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
