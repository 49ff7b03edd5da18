package throttle

import (
	"testing"
	"time"

	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

func TestAConsumerThatWasForgottenTakesNoMoreThanItHadUntilTheOthersAreBack(t *testing.T) {
	pace := NewPace(config.Rate{Count: 100, Per: time.Second})
	s := NewShare(nil, "test", notice.ChannelEmail, "a", pace)
	beat := func(joined int64, live int) float64 {
		s.join(joined, true)
		pace.SetShare(s.part(live))
		return pace.Share()
	}
	if share := beat(1000, 2); share != 0.5 {
		t.Fatalf("one of two has %v", share)
	}
	for i := range waryBeats { // Redis came back empty, and this one is the first to beat
		if share := beat(9000, 1); share != 0.5 {
			t.Fatalf("beat %d after it was forgotten, seemingly alone: %v, want the 0.5 of before", i, share)
		}
	}
	if share := beat(9000, 1); share != 1 {
		t.Errorf("still alone after %d beats: %v, want everything", waryBeats, share)
	}
}
