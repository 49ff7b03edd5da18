package channels

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTextsAreCutBetweenCharactersAsPeopleSeeThem(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		most int
		want string
	}{
		"what fits stays":                       {"hello", 5, "hello"},
		"what does not is marked":               {"hello world", 8, "hello…"},
		"a space before the mark goes":          {"hello world", 9, "hello…"},
		"a letter of two bytes is whole":        {"ééééé", 8, "éé…"},
		"an accent stays with its letter":       {"abe\u0301xyz", 7, "ab…"},
		"a family is one character":             {"ab👨‍👩‍👧cdefgh", 22, "ab…"},
		"a skin tone stays with its hand":       {"a👍🏽bcdefg", 10, "a…"},
		"a flag is not halved":                  {"🇦🇹🇩🇪🇨🇭", 19, "🇦🇹🇩🇪…"},
		"nor is the second one":                 {"🇦🇹🇩🇪🇨🇭", 17, "🇦🇹…"},
		"a variation selector stays":            {"a❤️bcdefg", 9, "a…"},
		"a Korean syllable is whole":            {"a\u1100\u1161\u11a8bcdefgh", 12, "a…"},
		"a line break of two is one":            {"abc\r\ndefgh", 7, "abc…"},
		"room for the mark alone gives no text": {"hello", 3, ""},
		"no room gives nothing":                 {"hello", 0, ""},
		"less than none, too":                   {"hello", -5, ""},
		"nothing stays nothing":                 {"", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Shorten(tc.text, tc.most, utf8.RuneLen); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAShortenedTextFitsAndBeginsAsTheLongOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		most := rapid.IntRange(-3, 60).Draw(t, "most")
		got := Shorten(s, most, JSONCost)
		size := 0
		for _, r := range got {
			size += JSONCost(r)
		}
		if size > max(most, 0) {
			t.Fatalf("%q takes %d, and %d were allowed", got, size, most)
		}
		if got != s && got != "" && !strings.HasPrefix(s, strings.TrimSuffix(got, "…")) {
			t.Fatalf("%q is not the beginning of %q", got, s)
		}
	})
}

func TestJSONCostIsWhatTheStandardEncoderWrites(t *testing.T) {
	for r := rune(0); r <= 0x10ffff; r++ {
		if r >= 0xd800 && r <= 0xdfff {
			continue
		}
		if r > 0x3000 && r%251 != 0 { // beyond, every rune is written as it is
			continue
		}
		raw, err := json.Marshal(string(r))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := JSONCost(r), len(raw)-2; got != want {
			t.Errorf("%U: %d, and %s takes %d", r, got, raw, want)
		}
	}
}
