package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The load generator shares the machine with what it measures, so it does as
// little as it can: requests are written once and only their digits change,
// answers are read without building a header from them, and nothing is
// allocated a request. It says what processor time it took.

// job is what a load generator is to do.
type job struct {
	API     string        `json:"api"` // address
	Path    string        `json:"path"`
	Key     string        `json:"key"`
	N       int           `json:"n"`       // notifications
	Batch   int           `json:"batch"`   // in a request, as NDJSON; 0: one, as JSON
	Clients int           `json:"clients"` // connections
	Rate    float64       `json:"rate"`    // requests begun a second, whatever becomes of them; 0: as fast as answers come
	Size    int           `json:"size"`    // bytes of each notification's data
	Lane    string        `json:"lane"`
	Targets []string      `json:"targets"` // the i-th notification goes to the i-th of them, in turn: URLs, and mail addresses behind toMail
	Inline  bool          `json:"inline"`  // content in place of a template
	Limit   time.Duration `json:"limit"`   // for an answer
}

// loaded is what came of it.
type loaded struct {
	N       int   `json:"n"`
	FirstNS int64 `json:"first_ns"` // when the first request began, unix ns
	LastNS  int64 `json:"last_ns"`  // when the last answer was there
	CPUNS   int64 `json:"cpu_ns"`   // of the generator
}

// rate is how many notifications a second were taken.
func (r loaded) rate() float64 {
	return float64(r.N) / time.Duration(r.LastNS-r.FirstNS).Seconds()
}

func (r loaded) cpu() time.Duration { return time.Duration(r.CPUNS) }

// post is a job of n notifications, each a request of its own.
func (l *lab) post(n int, tag string) job {
	return job{API: l.api, Path: "/v1/notifications", Key: keyA, N: n, Clients: l.connections, Size: l.size,
		Lane: "normal", Targets: []string{l.target(0, tag)}, Limit: 30 * time.Second}
}

// postBatches is a job of n notifications in batches.
func (l *lab) postBatches(n int, tag string) job {
	j := l.post(n, tag)
	j.Path, j.Batch, j.Clients = "/v1/notifications/batch", batchLines, 4
	return j
}

// openLoop is a job that begins rate requests a second for as long as -span
// says, and asks each notification's receiver for its age: from the moment its
// request was due, so that a request that had to wait for its turn counts too.
func (l *lab) openLoop(rate float64, tag string) job {
	j := l.post(max(1, int(rate*l.span.Seconds())), tag)
	j.Rate = rate
	return j
}

// load runs a job to its end, in a process of its own.
func (l *lab) load(ctx context.Context, j job) (r loaded, err error) {
	spec, err := json.Marshal(j)
	if err != nil {
		return r, err
	}
	p, err := l.startPart("load", "load", string(spec))
	if err != nil {
		return r, err
	}
	stop := context.AfterFunc(ctx, func() { p.cmd.Process.Kill() })
	defer stop()
	said, err := p.output()
	if err != nil {
		return r, fmt.Errorf("%w: %s", err, l.said())
	}
	return r, json.Unmarshal(said, &r)
}

// runLoad is the part "load".
func runLoad(args []string) error {
	var j job
	if len(args) != 1 {
		return errors.New("load takes one job")
	}
	if err := json.Unmarshal([]byte(args[0]), &j); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	r, err := j.run()
	if err != nil {
		return err
	}
	said, err := json.Marshal(r)
	fmt.Println(string(said))
	return err
}

// run does the job. The first failure ends it: a measurement with refusals in
// it measures nothing.
func (j job) run() (loaded, error) {
	var next atomic.Int64 // the first notification that nobody has taken yet
	var last atomic.Int64
	start := time.Now()
	errs := make(chan error, j.Clients)
	var clients sync.WaitGroup
	for range j.Clients {
		clients.Go(func() {
			c := newClient(j)
			defer c.close()
			if err := c.work(&next, start); err != nil {
				next.Store(int64(j.N)) // the others stop too
				errs <- err
			}
			last.Store(max(last.Load(), time.Now().UnixNano()))
		})
	}
	clients.Wait()
	select {
	case err := <-errs:
		return loaded{}, err
	default:
	}
	return loaded{N: j.N, FirstNS: start.UnixNano(), LastNS: last.Load(), CPUNS: ownCPU().Nanoseconds()}, nil
}

// client is one kept connection.
type client struct {
	job
	conn    net.Conn
	answers *bufio.Reader
	head    []byte     // of every request, up to the length
	bodies  []*pattern // one a target
	request []byte     // used again
	body    []byte
}

func newClient(j job) *client {
	c := &client{job: j}
	kind := "application/json"
	if j.Batch > 0 {
		kind = "application/x-ndjson"
	}
	c.head = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: ", j.Path, j.API, j.Key, kind)
	for _, target := range j.Targets {
		c.bodies = append(c.bodies, newPattern(j, target))
	}
	return c
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
	}
}

// work sends until everything is taken.
func (c *client) work(next *atomic.Int64, start time.Time) (err error) {
	if c.conn, err = net.Dial("tcp", c.API); err != nil {
		return err
	}
	c.answers = bufio.NewReaderSize(c.conn, 16<<10)
	each := max(c.Batch, 1)
	for {
		from := int(next.Add(int64(each))) - each
		if from >= c.N {
			return nil
		}
		var due time.Time
		if c.Rate > 0 {
			due = start.Add(time.Duration(float64(from) / c.Rate * float64(time.Second)))
			sleepUntil(due)
		}
		if err := c.send(from, min(from+each, c.N), due); err != nil {
			return fmt.Errorf("notification %d: %w", from, err)
		}
	}
}

// send posts the notifications from..to in one request and reads the answer.
func (c *client) send(from, to int, due time.Time) error {
	c.body = c.body[:0]
	for i := from; i < to; i++ {
		c.body = c.bodies[i%len(c.bodies)].append(c.body, i, due)
		if c.Batch > 0 {
			c.body = append(c.body, '\n')
		}
	}
	c.request = strconv.AppendInt(append(c.request[:0], c.head...), int64(len(c.body)), 10)
	c.request = append(append(c.request, "\r\n\r\n"...), c.body...)
	if err := c.conn.SetDeadline(time.Now().Add(c.Limit)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	return c.readAnswer(to - from)
}

// readAnswer wants a 202 and, of a batch, that all of it was accepted.
func (c *client) readAnswer(n int) error {
	status, err := c.answers.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 202 "))
	if !ok || c.Batch > 0 {
		status = bytes.Clone(status)
	}
	length, err := c.skipHeader()
	if err != nil {
		return err
	}
	if ok && c.Batch == 0 {
		_, err := c.answers.Discard(max(length, 0))
		return err
	}
	body, err := c.readBody(length)
	if err != nil {
		return fmt.Errorf("answered %s: %w", bytes.TrimSpace(status), err)
	}
	if !ok || !bytes.Contains(body, []byte(`"accepted":`+strconv.Itoa(n)+",")) {
		_, fault, _ := bytes.Cut(body, []byte(`"error":`))
		return fmt.Errorf("answered %s: %.100s … %.300s", bytes.TrimSpace(status), body, fault)
	}
	return nil
}

// skipHeader reads the header to its end and returns the body's length, -1
// when it is in chunks.
func (c *client) skipHeader() (length int, err error) {
	for length = -1; ; {
		field, err := c.answers.ReadSlice('\n')
		if err != nil {
			return 0, fmt.Errorf("reading an answer's header: %w", err)
		}
		field = bytes.TrimRight(field, "\r\n")
		if len(field) == 0 {
			return length, nil
		}
		if name, value, ok := bytes.Cut(field, []byte(": ")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, fmt.Errorf("an answer's length: %w", err)
			}
		}
	}
}

// readBody reads a body of a known length, or in chunks (RFC 9112 §7.1).
func (c *client) readBody(length int) ([]byte, error) {
	if length >= 0 {
		body := make([]byte, length)
		_, err := io.ReadFull(c.answers, body)
		return body, err
	}
	var body []byte
	for {
		size, err := c.answers.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("reading a chunk's size: %w", err)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 32)
		if err != nil {
			return nil, fmt.Errorf("a chunk's size: %w", err)
		}
		chunk := make([]byte, n+2) // and the line's end behind it
		if _, err := io.ReadFull(c.answers, chunk); err != nil {
			return nil, fmt.Errorf("reading a chunk: %w", err)
		}
		if n == 0 {
			return body, nil
		}
		body = append(body, chunk[:n]...)
	}
}

// pattern is a notification whose digits are filled in for each request.
type pattern struct {
	text         []byte
	user, n, due int // where the digits are
}

// The digits that stand in a pattern until they are filled in. numbers begins
// with no zero, since it is a JSON number.
const (
	userDigits = "00000000"
	numbers    = "1000000000"
	dueZeros   = "0000000000000000000"
)

// toMail stands before a target that is a mail address.
const toMail = "mailto:"

func newPattern(j job, target string) *pattern {
	what := `"template":"ping","data":` + dataOf(j.Size)
	if j.Inline {
		what = `"content":{"webhook":` + dataOf(j.Size) + `},"category":"test"`
	}
	to := fmt.Sprintf(`"webhooks":[{"url":"%s","secret":"%s"}]},"channels":["webhook"]`, target, webhookSecret)
	if address, ok := strings.CutPrefix(target, toMail); ok {
		to = fmt.Sprintf(`"email":"%s"},"channels":["email"]`, address)
	}
	text := fmt.Sprintf(`{"to":{"user":"u%s",%s,"priority":"%s",%s}`, userDigits, to, j.Lane, what)
	find := func(before string) int { return strings.Index(text, before) + len(before) }
	return &pattern{text: []byte(text), user: find(`"user":"u`), n: find(`"n":`), due: find(dueMember)}
}

// dataOf is what is told, of size bytes and a little.
func dataOf(size int) string {
	return `{"n":` + numbers + `,` + dueMember + dueZeros + `","pad":"` + strings.Repeat("x", size) + `"}`
}

// append appends the i-th notification, each to a user of its own.
func (p *pattern) append(to []byte, i int, due time.Time) []byte {
	start := len(to)
	to = append(to, p.text...)
	digits(to[start+p.user:][:len(userDigits)], int64(i))
	digits(to[start+p.n+1:][:len(numbers)-1], int64(i))
	if !due.IsZero() {
		digits(to[start+p.due:][:dueDigits], due.UnixNano())
	}
	return to
}

// digits writes v right-aligned over zeros.
func digits(to []byte, v int64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = byte('0' + v%10)
		v /= 10
	}
}

// runPlainLoop is the part "plain-loop": as many posts as fast as net/http
// can, which is what every drain is held against. Its arguments are a job.
func runPlainLoop(args []string) error {
	var j job
	if err := json.Unmarshal([]byte(strings.Join(args, "")), &j); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	body := []byte(`{"type":"ping","timestamp":"2026-11-01T12:00:00Z","data":` + dataOf(j.Size) + `}`)
	client := &http.Client{Timeout: j.Limit, Transport: &http.Transport{MaxIdleConnsPerHost: j.Clients, MaxConnsPerHost: j.Clients, DisableCompression: true}}
	var left, failed atomic.Int64
	left.Store(int64(j.N))
	var workers sync.WaitGroup
	for range j.Clients {
		workers.Go(func() {
			for left.Add(-1) >= 0 {
				if err := postPlainly(client, j.Targets[0], body); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	workers.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d requests failed", n)
	}
	return json.NewEncoder(stdout{}).Encode(loaded{N: j.N, CPUNS: ownCPU().Nanoseconds()})
}

func postPlainly(client *http.Client, target string, body []byte) error {
	res, err := client.Post(target, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// stdout prints what is written to it.
type stdout struct{}

func (stdout) Write(b []byte) (int, error) { return fmt.Print(string(b)) }
