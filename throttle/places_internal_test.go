package throttle

import "testing"

func FuzzReadingPlacesTakesWhateverStandsThere(f *testing.F) {
	f.Add("")
	f.Add("rule\x00\x00\x03\xe8\x00\x01momentident"[:20])
	f.Add("rule\x00\x00\x03\xe8\xff\xff")
	f.Fuzz(func(t *testing.T, raw string) {
		sections, err := readPlaces(raw)
		bytes := 0
		for _, s := range sections {
			bytes += sectionHead + len(s)*placeSize
		}
		if err == nil && bytes > len(raw) {
			t.Errorf("%d bytes hold places of %d", len(raw), bytes)
		}
	})
}
