package throttle

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/carillonhq/carillon/config"
)

// What places.lua writes, and what counts there: the sizes are in bytes.
const (
	placesEpoch = 1_600_000_000_000 // ms
	sectionHead = 10
	placeSize   = 10
	momentSize  = 5
)

var errPlaces = errors.New("what is kept of a user's caps is cut short")

// section is what one user has under one rule: the moments of the places in
// ms, the earliest first.
type section []int64

// readPlaces reads a user's string, section by section, under the rules' ids.
func readPlaces(raw string) (map[[4]byte]section, error) {
	sections := map[[4]byte]section{}
	for len(raw) > 0 {
		if len(raw) < sectionHead {
			return nil, errPlaces
		}
		n := int(binary.BigEndian.Uint16([]byte(raw[8:sectionHead])))
		past := sectionHead + n*placeSize
		if len(raw) < past {
			return nil, errPlaces
		}
		s := make(section, n)
		for i := range s {
			s[i] = moment(raw[sectionHead+i*placeSize:])
		}
		sections[[4]byte([]byte(raw[:4]))] = s
		raw = raw[past:]
	}
	return sections, nil
}

// moment reads the five bytes that text begins with.
func moment(text string) int64 {
	var n int64
	for i := range momentSize {
		n = n<<8 | int64(text[i])
	}
	return placesEpoch + n
}

// add puts one more place where it belongs.
func (s section) add(t int64) section {
	i, _ := slices.BinarySearch(s, t+1)
	return slices.Insert(s, i, t)
}

// within is how many places lie in the window that ends at now, now included.
func (s section) within(now int64, window time.Duration) int {
	past, _ := slices.BinarySearch(s, now+1)
	left, _ := slices.BinarySearch(s, now-window.Milliseconds()+1)
	return max(past-left, 0)
}

// waiting is how many places lie after now.
func (s section) waiting(now int64) int {
	past, _ := slices.BinarySearch(s, now+1)
	return len(s) - past
}

// free is the first moment from t on at which r allows one place more: where as
// many as it allows lie within one window, nothing may go from a window before
// the last of them to a window after the first.
func (s section) free(t int64, r config.Rate) int64 {
	window := r.Per.Milliseconds()
	for i := 0; i+r.Count <= len(s); i++ {
		first, last := s[i], s[i+r.Count-1]
		if last-window >= t {
			break
		}
		if last-first < window {
			t = max(t, first+window)
		}
	}
	return t
}
