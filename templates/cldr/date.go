package cldr

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Style is how much of a date is written, as CLDR names it.
type Style uint8

// The styles, in English: "Friday, January 1, 2027", "January 1, 2027", "Jan 1,
// 2027", "1/1/27".
const (
	Full Style = iota
	Long
	Medium
	Short
)

// FormatDate writes the day of at, in at's own zone.
func (l *Locale) FormatDate(at time.Time, s Style) string {
	return l.pattern(l.Date[s], at)
}

// FormatTime writes the time of day of at; with seconds in the styles above
// Short.
func (l *Locale) FormatTime(at time.Time, s Style) string {
	if s == Short {
		return l.pattern(l.Time[1], at)
	}
	return l.pattern(l.Time[0], at)
}

// FormatDateTime writes the day of at and its time to the minute.
func (l *Locale) FormatDateTime(at time.Time, s Style) string {
	frame := unquote(l.DateTime[s])
	frame = strings.Replace(frame, "{1}", l.FormatDate(at, s), 1)
	return strings.Replace(frame, "{0}", l.FormatTime(at, Short), 1)
}

// unquote drops the quotes around the words of a date-time frame.
func unquote(frame string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(frame, "''", "\x00"), "'", ""), "\x00", "'")
}

// pattern writes at by a date pattern of TR35 part 4 §8. A test holds every
// letter in the tables against what field knows.
func (l *Locale) pattern(pattern string, at time.Time) string {
	var b strings.Builder
	for i := 0; i < len(pattern); {
		switch c := pattern[i]; {
		case c == '\'':
			text, n := quotedText(pattern[i:])
			b.WriteString(text)
			i += n
		case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
			n := 1
			for i+n < len(pattern) && pattern[i+n] == c {
				n++
			}
			b.WriteString(l.field(c, n, at))
			i += n
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// quotedText is the text between quotes, and how much of the pattern it took.
func quotedText(pattern string) (text string, n int) {
	end := strings.IndexByte(pattern[1:], '\'')
	switch {
	case end == 0:
		return "'", 2
	case end < 0:
		return pattern[1:], len(pattern)
	}
	return pattern[1 : end+1], end + 2
}

func (l *Locale) field(letter byte, n int, at time.Time) string {
	switch letter {
	case 'G':
		return l.Era
	case 'y':
		if n == 2 {
			return l.padded(at.Year()%100, 2)
		}
		return l.padded(at.Year(), n)
	case 'M':
		return l.month(at.Month(), n)
	case 'd':
		return l.padded(at.Day(), n)
	case 'E', 'c':
		return l.day(at.Weekday(), letter, n)
	case 'H':
		return l.padded(at.Hour(), n)
	case 'h':
		return l.padded((at.Hour()+11)%12+1, n)
	case 'm':
		return l.padded(at.Minute(), n)
	case 's':
		return l.padded(at.Second(), n)
	case 'a':
		return l.Halves[at.Hour()/12]
	case 'B':
		return l.Hours[at.Hour()]
	}
	return ""
}

func (l *Locale) day(d time.Weekday, letter byte, n int) string {
	switch {
	case n < 4:
		return l.ShortDays[d]
	case letter == 'c':
		return l.LoneDays[d]
	}
	return l.Days[d]
}

func (l *Locale) month(m time.Month, n int) string {
	switch n {
	case 3:
		return l.ShortMonths[m-1]
	case 4:
		return l.Months[m-1]
	}
	return l.padded(int(m), n)
}

func (l *Locale) padded(n, width int) string {
	if width < 2 {
		return l.localDigits(strconv.Itoa(n))
	}
	return l.localDigits(fmt.Sprintf("%0*d", width, n))
}
