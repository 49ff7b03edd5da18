package archive

import (
	"maps"

	"github.com/carillonhq/carillon/queue"
)

// state is the position that a folder stores beside its files.
type state struct {
	Version   int                `json:"version"`
	Namespace string             `json:"namespace"`
	Marks     map[int]queue.Mark `json:"marks"` // by partition
	Files     map[string]int64   `json:"files"` // size up to which a file belongs to this position
	Totals    Totals             `json:"totals"`
}

const stateVersion = 1

func (s *state) mark(p int) queue.Mark { return s.Marks[p] }

func (s *state) clone() state {
	c := *s
	c.Version = stateVersion
	if c.Marks = maps.Clone(s.Marks); c.Marks == nil {
		c.Marks = map[int]queue.Mark{}
	}
	if c.Files = maps.Clone(s.Files); c.Files == nil {
		c.Files = map[string]int64{}
	}
	return c
}

// take moves the position of one partition behind a page.
func (s *state) take(p int, page *queue.Finals) {
	s.Marks[p] = page.Next
	s.Totals.Written += int64(len(page.Records))
	s.Totals.Expired += int64(len(page.Expired))
	s.Totals.Missed += page.Missed
	if page.Restarted {
		s.Totals.Restarted++
	}
}
