package notice

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

// An id is "<partition>-<20 characters>": the partition that holds everything
// about the notification, then 48 bits of time (milliseconds) and 52 bits that
// tell ids of one millisecond apart, in lower-case base32hex, so that ids of a
// partition sort by time. A delivery's id adds "-<ordinal>". No id holds a dot,
// which a Standard Webhooks message id must not.

var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

const idBytes = 13 // 104 bits, of which 20 characters carry the first 100

// NewID makes the id of a notification that is accepted at the given time.
func NewID(partition int, at time.Time) string {
	var tail [7]byte
	rand.Read(tail[:]) // never fails: crypto/rand ends the program instead
	return formatID(partition, at, tail)
}

// DerivedID makes the id of a notification that has another identity already
// (an inbox entry's), so that reading the same entry twice gives one id.
func DerivedID(partition int, at time.Time, identity string) string {
	var tail [7]byte
	sum := binary.BigEndian.AppendUint64(nil, xxhash.Sum64String(identity))
	copy(tail[:], sum)
	return formatID(partition, at, tail)
}

func formatID(partition int, at time.Time, tail [7]byte) string {
	var raw [idBytes]byte
	ms := uint64(at.UnixMilli())
	for i := range 6 {
		raw[i] = byte(ms >> (40 - 8*i))
	}
	copy(raw[6:], tail[:])
	return strconv.Itoa(partition) + "-" + idEncoding.EncodeToString(raw[:])[:20]
}

// DeliveryID is the id of the notification's ordinal-th delivery.
func DeliveryID(notification string, ordinal int) string {
	return notification + "-" + strconv.Itoa(ordinal)
}

// ErrBadID is what the id functions return for a string that is no id.
var ErrBadID = errors.New("not an id of this gateway: want <partition>-<20 characters>, as POST /v1/notifications answers it")

// SplitID takes an id of a notification or a delivery apart. ordinal is -1
// for a notification.
func SplitID(id string) (partition int, notification string, ordinal int, err error) {
	const tail = 20
	dash := strings.IndexByte(id, '-')
	end := dash + 1 + tail
	if dash < 1 || len(id) < end || !isTail(id[dash+1:end]) {
		return 0, "", 0, badID(id)
	}
	if partition, err = strconv.Atoi(id[:dash]); err != nil || partition < 0 {
		return 0, "", 0, badID(id)
	}
	if len(id) == end {
		return partition, id, -1, nil
	}
	ordinal, err = strconv.Atoi(id[end+1:])
	if err != nil || id[end] != '-' || ordinal < 0 {
		return 0, "", 0, badID(id)
	}
	return partition, id[:end], ordinal, nil
}

func isTail(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return false
		}
	}
	return true
}

func badID(id string) error { return fmt.Errorf("%q: %w", clip(id), ErrBadID) }

// clip shortens what a user sent, for use in an error.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
