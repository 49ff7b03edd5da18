package ingest

import "net/http"

// Patterns are the routes of an API that New made, as "POST /v1/events".
func Patterns(h http.Handler) []string { return h.(*API).mux.patterns }
