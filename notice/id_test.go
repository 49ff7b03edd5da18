package notice_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/notice"
)

func TestAnIdIsTakenApartIntoWhatItWasMadeOf(t *testing.T) {
	at := time.UnixMilli(1795500000123)
	id := notice.NewID(12, at)
	p, n, ordinal, err := notice.SplitID(id)
	if p != 12 || n != id || ordinal != -1 || err != nil {
		t.Errorf("%s is %d, %s, %d, %v", id, p, n, ordinal, err)
	}
	p, n, ordinal, err = notice.SplitID(notice.DeliveryID(id, 7))
	if p != 12 || n != id || ordinal != 7 || err != nil {
		t.Errorf("its seventh delivery is %d, %s, %d, %v", p, n, ordinal, err)
	}
	if strings.Contains(id, ".") {
		t.Errorf("%s holds a dot, which no webhook-id may", id)
	}
}

func TestWhatIsNoIdIsRefusedByName(t *testing.T) {
	good := notice.NewID(3, time.Now())
	for _, bad := range []string{"", "-", "3", "3-", good[1:], good[:len(good)-1], good + "-", good + "-x", good + "-1-2", good + "--1",
		"-" + good, "x" + good, good + "1", strings.ToUpper(good[:4]) + strings.Repeat("Z", 18), "3-" + strings.Repeat("w", 20), "99999999999999999999-" + good[2:]} {
		if _, _, _, err := notice.SplitID(bad); !errors.Is(err, notice.ErrBadID) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, _, _, err := notice.SplitID(strings.Repeat("x", 1000)); err == nil || len(err.Error()) > 300 {
		t.Errorf("a long one is repeated whole: %v", err)
	}
}

func TestIdsOfAPartitionSortByTime(t *testing.T) {
	at := time.UnixMilli(1795500000123)
	if a, b := notice.NewID(1, at), notice.NewID(1, at.Add(time.Millisecond)); a >= b {
		t.Errorf("%s is not before %s", a, b)
	}
	if a, b := notice.DerivedID(1, at, "x"), notice.DerivedID(1, at, "x"); a != b {
		t.Errorf("one identity has two ids, %s and %s", a, b)
	}
	if a, b := notice.DerivedID(1, at, "x"), notice.DerivedID(1, at, "y"); a == b {
		t.Errorf("two identities share %s", a)
	}
}
