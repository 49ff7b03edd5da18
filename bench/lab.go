package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// webhookSecret is what the gateway signs with.
const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// batchLines is how many notifications one NDJSON batch has.
const batchLines = 1000

// lab is a redis-server, a receiver, a catalogue and a configuration.
type lab struct {
	options
	dir       string
	receiver  string // address
	redis     *redis.Client
	config    string
	api       string // ingest's address
	admin     string // a process's own
	processes []*exec.Cmd
	pipes     []io.Closer
}

func newLab(ctx context.Context, o options) (l *lab, err error) {
	l = &lab{options: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.dir, err = os.MkdirTemp("", "carillon-bench-"); err != nil {
		return l, err
	}
	if l.binary == "" {
		l.binary = filepath.Join(l.dir, "carillon")
		build := exec.CommandContext(ctx, "go", "build", "-o", l.binary, "./cmd/carillon")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return l, fmt.Errorf("building carillon: %w", err)
		}
	}
	if err := l.startReceiver(); err != nil {
		return l, err
	}
	return l, l.startRedis(ctx)
}

// start runs a process that does not outlive this one.
func (l *lab) start(name string, args ...string) (*exec.Cmd, io.Reader, error) {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	l.pipes = append(l.pipes, stdin)
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("starting %s: %w", name, err)
	}
	l.processes = append(l.processes, cmd)
	return cmd, stdout, nil
}

// stop ends a process gracefully and waits for it.
func (l *lab) stop(cmd *exec.Cmd) error {
	for i, p := range l.processes {
		if p == cmd {
			l.processes = append(l.processes[:i], l.processes[i+1:]...)
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return cmd.Wait()
}

func (l *lab) close() error {
	for _, p := range l.processes {
		p.Process.Kill()
		p.Wait()
	}
	for _, p := range l.pipes {
		p.Close()
	}
	return os.RemoveAll(l.dir)
}

func (l *lab) startReceiver() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	_, out, err := l.start(self, "receiver")
	if err != nil {
		return err
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	l.receiver = strings.TrimSpace(address)
	return err
}

func (l *lab) startRedis(ctx context.Context) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(address)
	if _, _, err := l.start("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", l.dir, "--save", "", "--appendonly", "no"); err != nil {
		return err
	}
	l.redis = redis.NewClient(&redis.Options{Addr: address})
	if err := await(ctx, 10*time.Second, "answer of redis-server", func() bool { return l.redis.Ping(ctx).Err() == nil }); err != nil {
		return err
	}
	return l.configure(address)
}

// configure writes the catalogue and the configuration: everything is on that
// a webhook passes through.
func (l *lab) configure(redisAddress string) (err error) {
	if l.api, err = freeAddress(); err != nil {
		return err
	}
	if l.admin, err = freeAddress(); err != nil {
		return err
	}
	l.config = filepath.Join(l.dir, "carillon.yaml")
	files := map[string]string{
		"catalogue/catalogue.yaml":       "default_locale: en\n",
		"catalogue/ping/template.yaml":   "category: test\nschema:\n  type: object\n  required: [n, pad]\n  properties: {n: {type: integer}, pad: {type: string}}\nsamples: {default: {n: 1, pad: x}}\n",
		"catalogue/ping/en/webhook.json": `{"type":"ping","timestamp":{{json .now}},"data":{"n":{{json .data.n}},"pad":{{json .data.pad}}}}`,
		"carillon.yaml": fmt.Sprintf(`redis: {url: "redis://%s/0"}
ingest: {listen: "%s", max_body: 4MiB, max_batch: %d}
admin: {listen: "%s"}
auth: {disabled: true}
templates: {dir: catalogue}
throttle: {per_user: [{category: "*", channel: webhook, limit: 100/24h, over: defer}]}
channels: {webhook: {allow_networks: ["127.0.0.0/8"], concurrency: %d}}
`, redisAddress, l.api, batchLines, l.admin, l.concurrency),
	}
	for name, text := range files {
		path := filepath.Join(l.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// plainLoop posts as many bodies as fast as net/http can, and is what every
// drain is held against.
func (l *lab) plainLoop(ctx context.Context) (rate float64, cpu time.Duration, err error) {
	if err := resetReceiver(ctx, l.receiver); err != nil {
		return 0, 0, err
	}
	began := ownCPU()
	body := []byte(`{"type":"ping","data":"` + strings.Repeat("x", l.size) + `"}`)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: l.concurrency, MaxConnsPerHost: l.concurrency, DisableCompression: true}}
	defer client.CloseIdleConnections()
	var left, failed atomic.Int64
	left.Store(int64(l.n))
	var workers sync.WaitGroup
	for range l.concurrency {
		workers.Go(func() {
			for left.Add(-1) >= 0 {
				res, err := client.Post("http://"+l.receiver+"/h", "application/json", bytes.NewReader(body))
				if err != nil {
					failed.Add(1)
					continue
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
	workers.Wait()
	if n := failed.Load(); n > 0 {
		return 0, 0, fmt.Errorf("%d requests failed", n)
	}
	s, err := ask(ctx, l.receiver)
	return s.rate(), (ownCPU() - began) / time.Duration(l.n), err
}

// fill posts the notifications to a fresh ingest, and returns how many a second
// it took and what each takes in Redis.
func (l *lab) fill(ctx context.Context) (rate, memory float64, err error) {
	before, err := l.usedMemory(ctx)
	if err != nil {
		return 0, 0, err
	}
	ingest, err := l.startCarillon(ctx, "ingest")
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	var posted atomic.Int64
	var posters sync.WaitGroup
	errs := make(chan error, 4)
	for range cap(errs) {
		posters.Go(func() {
			for {
				from := int(posted.Add(batchLines)) - batchLines
				if from >= l.n {
					return
				}
				if err := l.postBatch(ctx, from, min(from+batchLines, l.n)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	posters.Wait()
	took := time.Since(start)
	select {
	case err := <-errs:
		return 0, 0, err
	default:
	}
	after, err := l.usedMemory(ctx)
	if err != nil {
		return 0, 0, err
	}
	return float64(l.n) / took.Seconds(), (after - before) / float64(l.n), l.stop(ingest)
}

func (l *lab) postBatch(ctx context.Context, from, to int) error {
	var body bytes.Buffer
	pad := strings.Repeat("x", l.size)
	for i := from; i < to; i++ {
		fmt.Fprintf(&body, `{"template":"ping","to":{"user":"u%d","webhooks":[{"url":"http://%s/h","secret":"%s"}]},"data":{"n":%d,"pad":"%s"},"channels":["webhook"]}`+"\n",
			i, l.receiver, webhookSecret, i, pad)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.api+"/v1/notifications/batch", &body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if want := `"accepted":` + strconv.Itoa(to-from); res.StatusCode != http.StatusAccepted || !bytes.Contains(answer, []byte(want)) {
		return fmt.Errorf("a batch was answered %s: %.300s", res.Status, answer)
	}
	return nil
}

// drained is what one drain cost.
type drained struct {
	rate       float64       // a second at the receiver
	cpu, redis time.Duration // of the consumer, start included, and of Redis, a notification
}

// drain starts a consumer on the full queue.
func (l *lab) drain(ctx context.Context, profile string) (d drained, err error) {
	if err := resetReceiver(ctx, l.receiver); err != nil {
		return d, err
	}
	redisBegan, err := l.redisCPU(ctx)
	if err != nil {
		return d, err
	}
	consumer, err := l.startCarillon(ctx, "consume")
	if err != nil {
		return d, err
	}
	if profile != "" {
		if err := l.fetchProfile(ctx, profile); err != nil {
			return d, err
		}
	}
	var s stats
	err = await(ctx, 5*time.Minute, "end of the drain", func() bool {
		s, err = ask(ctx, l.receiver)
		return err != nil || s.Count >= int64(l.n)
	})
	if err != nil {
		return d, err
	}
	redisEnded, err := l.redisCPU(ctx)
	if err != nil {
		return d, err
	}
	if err := l.stop(consumer); err != nil {
		return d, err
	}
	if s, err = ask(ctx, l.receiver); err == nil && s.Count != int64(l.n) {
		err = fmt.Errorf("%d notifications arrived as %d requests", l.n, s.Count)
	}
	each := time.Duration(l.n)
	return drained{rate: s.rate(), cpu: (consumer.ProcessState.UserTime() + consumer.ProcessState.SystemTime()) / each,
		redis: (redisEnded - redisBegan) / each}, err
}

// startCarillon starts one process of the gateway and waits until it is ready.
func (l *lab) startCarillon(ctx context.Context, command string) (*exec.Cmd, error) {
	cmd, _, err := l.start(l.binary, command, "--config", l.config)
	if err != nil {
		return nil, err
	}
	return cmd, await(ctx, 20*time.Second, "readiness of carillon "+command, func() bool {
		res, err := http.Get("http://" + l.admin + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// fetchProfile writes two seconds of CPU profile of the running process.
func (l *lab) fetchProfile(ctx context.Context, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.admin+"/debug/pprof/profile?seconds=2", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}

func (l *lab) usedMemory(ctx context.Context) (float64, error) {
	return l.info(ctx, "memory", "used_memory")
}

// redisCPU is the processor time that the redis-server has used.
func (l *lab) redisCPU(ctx context.Context) (time.Duration, error) {
	user, err := l.info(ctx, "cpu", "used_cpu_user")
	if err != nil {
		return 0, err
	}
	system, err := l.info(ctx, "cpu", "used_cpu_sys")
	return time.Duration((user + system) * float64(time.Second)), err
}

// info is one number of INFO.
func (l *lab) info(ctx context.Context, section, name string) (float64, error) {
	info, err := l.redis.Info(ctx, section).Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, fmt.Errorf("INFO %s says nothing of %s", section, name)
}
