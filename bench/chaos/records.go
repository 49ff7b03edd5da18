package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
)

// endings are the statuses in which a delivery may end.
var endings = [...]string{"delivered", "failed", "expired", "canceled", "suppressed", "capped", "dead"}

func ended(status string) bool {
	for _, e := range endings {
		if status == e {
			return true
		}
	}
	return false
}

// records is what GET says of all that was accepted.
type records struct {
	Missing int `json:"missing"` // 404
	Open    int `json:"open"`    // a delivery that has not ended
	Other   int `json:"other"`   // ended otherwise than delivered
}

// look asks for the record of everything that was accepted.
func (w *world) look(sent []posted) (r records) {
	var mu sync.Mutex
	var next atomic.Int64
	var askers sync.WaitGroup
	client := &http.Client{Timeout: clientTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	for range 8 {
		askers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(sent)); i = next.Add(1) - 1 {
				if sent[i].id == "" {
					continue
				}
				missing, open, other := w.lookUp(client, sent[i])
				mu.Lock()
				r.Missing, r.Open, r.Other = r.Missing+missing, r.Open+open, r.Other+other
				mu.Unlock()
			}
		})
	}
	askers.Wait()
	return r
}

func (w *world) lookUp(client *http.Client, p posted) (missing, open, other int) {
	status, found, err := fetchRecord(client, "http://"+w.api+"/v1/notifications/"+p.id)
	switch {
	case err != nil:
		w.Errorf("GET %s: %v", p.id, err)
		return 0, 0, 0
	case status == http.StatusNotFound:
		return 1, 0, 0
	case len(found) != p.hooks:
		return 0, 1, 0
	}
	for _, s := range found {
		switch {
		case !ended(s):
			open = 1
		case s != "delivered":
			other = 1
		}
	}
	return 0, open, other
}

// fetchRecord returns the statuses of a notification's deliveries.
func fetchRecord(client *http.Client, url string) (status int, found []string, err error) {
	res, err := client.Get(url)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	var said struct {
		Deliveries []struct {
			Status string `json:"status"`
		} `json:"deliveries"`
	}
	switch res.StatusCode {
	case http.StatusNotFound:
		return res.StatusCode, nil, nil
	case http.StatusOK:
	default:
		return res.StatusCode, nil, fmt.Errorf("answered %s", res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
		return res.StatusCode, nil, err
	}
	for _, d := range said.Deliveries {
		found = append(found, d.Status)
	}
	return res.StatusCode, found, nil
}
