package cldr

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDigits bounds a number that is written, and how many decimals may be
// asked for.
const maxDigits = 100

// ErrNumber is what a text that is no plain decimal number gives.
var ErrNumber = errors.New("is no decimal number like -1234.5")

// FormatNumber writes a decimal number given as text ("-1234.5"). At most three
// decimals are written, or exactly decimals when that is not negative; what is
// cut is rounded half to even, on the digits and never as a binary fraction.
func (l *Locale) FormatNumber(number string, decimals int) (string, error) {
	return l.number(l.Number, number, decimals, 0)
}

// FormatPercent writes a share given as text: "0.255" is 26 %, or 25.5 % with
// one decimal.
func (l *Locale) FormatPercent(share string, decimals int) (string, error) {
	out, err := l.number(l.Percentage, share, max(decimals, 0), 2)
	return strings.Replace(out, "%", l.Percent, 1), err
}

// number writes number × 10^shift by a pattern of TR35 part 3 §3.
func (l *Locale) number(pattern, number string, decimals, shift int) (string, error) {
	negative, whole, fraction, err := split(number)
	if err != nil || decimals > maxDigits {
		return "", ErrNumber
	}
	whole, fraction = scale(whole, fraction, shift)
	pattern, _, _ = strings.Cut(pattern, ";")
	first, last := strings.IndexAny(pattern, "#0"), strings.LastIndexAny(pattern, "#0")
	core := pattern[first : last+1]
	least, most := decimals, decimals
	if decimals < 0 {
		least, most = 0, 3
	}
	whole, fraction = round(whole, fraction, most)
	for len(fraction) > least && strings.HasSuffix(fraction, "0") {
		fraction = fraction[:len(fraction)-1]
	}
	body := l.grouped(whole, core)
	if fraction != "" {
		body += l.Decimal + fraction
	}
	body = pattern[:first] + l.localDigits(body) + pattern[last+1:]
	if negative && strings.Trim(whole+fraction, "0") != "" {
		body = l.Minus + body
	}
	return body, nil
}

// split takes a decimal number apart.
func split(number string) (negative bool, whole, fraction string, err error) {
	number, negative = strings.CutPrefix(number, "-")
	whole, fraction, dotted := strings.Cut(number, ".")
	if whole == "" || dotted && fraction == "" || len(number) > maxDigits || strings.Trim(whole+fraction, "0123456789") != "" {
		return false, "", "", ErrNumber
	}
	return negative, strings.TrimLeft(whole[:len(whole)-1], "0") + whole[len(whole)-1:], fraction, nil
}

// scale moves the point to the right.
func scale(whole, fraction string, shift int) (string, string) {
	if shift == 0 {
		return whole, fraction
	}
	fraction += strings.Repeat("0", max(0, shift-len(fraction)))
	whole = strings.TrimLeft(whole+fraction[:shift], "0")
	if whole == "" {
		whole = "0"
	}
	return whole, fraction[shift:]
}

// round keeps the given number of decimals, and fills up to it with zeros.
func round(whole, fraction string, decimals int) (string, string) {
	if len(fraction) <= decimals {
		return whole, fraction + strings.Repeat("0", decimals-len(fraction))
	}
	kept, cut := []byte(whole+fraction[:decimals]), fraction[decimals:]
	half := "5" + strings.Repeat("0", len(cut)-1)
	if cut > half || cut == half && (kept[len(kept)-1]-'0')%2 == 1 {
		kept = increment(kept)
	}
	point := len(kept) - decimals
	return string(kept[:point]), string(kept[point:])
}

func increment(digits []byte) []byte {
	for i := len(digits) - 1; i >= 0; i-- {
		if digits[i] < '9' {
			digits[i]++
			return digits
		}
		digits[i] = '0'
	}
	return append([]byte{'1'}, digits...)
}

// grouped puts separators between the digits of a whole number as a pattern
// like #,##0 or #,##,##0 says.
func (l *Locale) grouped(whole, pattern string) string {
	pattern, _, _ = strings.Cut(pattern, ".")
	last := strings.LastIndexByte(pattern, ',')
	least, _ := strconv.Atoi(l.Least)
	if last < 0 || len(whole) < len(pattern)-last-1+max(least, 1) {
		return whole
	}
	size := len(pattern) - last - 1
	out := whole[len(whole)-size:]
	rest := whole[:len(whole)-size]
	if next := strings.LastIndexByte(pattern[:last], ','); next >= 0 {
		size = last - next - 1
	}
	for len(rest) > size {
		out = rest[len(rest)-size:] + l.Group + out
		rest = rest[:len(rest)-size]
	}
	return rest + l.Group + out
}

// localDigits writes the digits of the locale's script.
func (l *Locale) localDigits(s string) string {
	if l.Digits == "" {
		return s
	}
	zero, _ := utf8.DecodeRuneInString(l.Digits)
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return zero + r - '0'
		}
		return r
	}, s)
}
