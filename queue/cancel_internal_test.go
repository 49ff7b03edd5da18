package queue

import (
	"slices"
	"testing"

	"github.com/carillonhq/carillon/notice"
)

// A record that changes between its reading and the script is read again, and
// then holds the decision that the cancel waited for: it was forgotten, and the
// answer was that nothing had been left to cancel.
func TestADecisionThatComesBetweenReadingAndCancelingIsTakenInOnce(t *testing.T) {
	const id = "1-06h0fb55798unvn7agmd"
	delivery := notice.DeliveryID(id, 1)
	r := Record{ID: id, Deliveries: []DeliveryRecord{{ID: delivery, Status: notice.StatusCanceled}}}
	for name, undecided := range map[string]map[string]bool{"a delivery": {delivery: true}, "an event that was planned": {id: true}} {
		var c Cancellation
		c.decided(r, undecided)
		c.decided(r, undecided) // the record had changed once more
		if !slices.Equal(c.Canceled, []string{delivery}) || len(c.TooLate) != 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
