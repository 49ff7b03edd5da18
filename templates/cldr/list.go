package cldr

import "strings"

// FormatAnd writes a list as "a, b, and c".
func (l *Locale) FormatAnd(items []string) string { return join(l.And, items) }

// FormatOr writes a list as "a, b, or c".
func (l *Locale) FormatOr(items []string) string { return join(l.Or, items) }

// join follows TR35 part 2 §11: a pattern for two, and else one for the start,
// the end and between.
func join(patterns [4]string, items []string) string {
	switch n := len(items); n {
	case 0:
		return ""
	case 1:
		return items[0]
	case 2:
		return pair(patterns[3], items[0], items[1])
	default:
		out := pair(patterns[2], items[n-2], items[n-1])
		for i := n - 3; i > 0; i-- {
			out = pair(patterns[1], items[i], out)
		}
		return pair(patterns[0], items[0], out)
	}
}

// pair fills {0} and {1} in one pass, so that braces in an item stay.
func pair(pattern, first, second string) string {
	return strings.NewReplacer("{0}", first, "{1}", second).Replace(pattern)
}
