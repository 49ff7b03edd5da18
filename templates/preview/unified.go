package preview

// Unified is the difference of two texts in the unified format, with the names
// that they go by; empty when there is none.
func Unified(from, to, before, after string) string { return unified(from, to, before, after) }
