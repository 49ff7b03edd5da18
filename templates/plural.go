package templates

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
)

// pluralCategories are the categories' names as files spell them, in the order
// of plural.Form.
func pluralCategories() []string {
	return []string{"other", "zero", "one", "two", "few", "many"}
}

// pluralRules choose the plural form of one language.
type pluralRules struct{ language language.Tag }

func newPluralRules(locale string) pluralRules {
	return pluralRules{language.Make(locale)}
}

// category is the plural category of a number: of its integer digits, and of
// its visible decimals as the operands of TR35 ask.
func (r pluralRules) category(number any) (string, error) {
	text, err := numberText(number)
	if err != nil {
		return "", fmt.Errorf("plural forms want a number, not %s", kindOf(number))
	}
	return pluralCategories()[r.match(text)], nil
}

func (r pluralRules) match(number string) plural.Form {
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(number, "-"), ".")
	trimmed := strings.TrimRight(fraction, "0")
	return plural.Cardinal.MatchPlural(r.language, digits(whole), len(fraction), len(trimmed), digits(fraction), digits(trimmed))
}

// digits is the value of at most the last nine digits, which is all that the
// plural rules look at.
func digits(s string) int {
	n, err := strconv.Atoi(s[max(0, len(s)-9):])
	if err != nil {
		return 0
	}
	return min(n, math.MaxInt32)
}

// numberText is a value's decimal digits, exactly as they were sent as far as
// JSON's numbers go.
func numberText(v any) (string, error) {
	switch n := v.(type) {
	case int:
		return strconv.Itoa(n), nil
	case int64:
		return strconv.FormatInt(n, 10), nil
	case decimal:
		return strconv.FormatFloat(float64(n), 'f', -1, 64), nil
	case float64:
		return strconv.FormatFloat(n, 'f', -1, 64), nil
	case json.Number:
		return n.String(), nil
	}
	return "", fmt.Errorf("is %s, not a number", kindOf(v))
}

// samplesOfNumbers are numbers that between them take every category that
// counts of things take in any language.
func samplesOfNumbers() []string {
	var all []string
	for n := range 201 {
		all = append(all, strconv.Itoa(n))
	}
	return append(all, "1000", "100000")
}

// categoriesOf are the categories that whole numbers take in a language, and
// "other".
func categoriesOf(locale string) []string {
	rules, found := newPluralRules(locale), []string{"other"}
	for _, n := range samplesOfNumbers() {
		if c := pluralCategories()[rules.match(n)]; !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	return found
}

// exampleOf is the first number that takes a category.
func exampleOf(locale, category string) string {
	rules := newPluralRules(locale)
	for _, n := range samplesOfNumbers() {
		if pluralCategories()[rules.match(n)] == category {
			return n
		}
	}
	return ""
}
