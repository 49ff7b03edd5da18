package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/carillonhq/carillon/queue"
	"github.com/carillonhq/carillon/queue/queuetest"
)

func TestWhatAProgramPutOnTheQueueIsPrintable(t *testing.T) {
	for _, w := range []struct{ in, want string }{
		{"plain – with ümlauts", "plain – with ümlauts"},
		{`{"a":"b"}`, `{"a":"b"}`},
		{"\x1b[2J{\"a\"}", `\x1b[2J{"a"}`},
		{"a\nb\tc", `a\nb\tc`},
		{"bad \xff byte", `bad \xff byte`},
		{"right\u202eleft", `right\u202eleft`},
	} {
		if got := printable(w.in); got != w.want {
			t.Errorf("%q is printed as %q, want %q", w.in, got, w.want)
		}
	}
}

func TestAPoisonEntryIsShownWithoutHarm(t *testing.T) {
	server := queuetest.Start(t)
	config := writeConfig(t, fmt.Sprintf("redis: {url: %q}\nauth: {disabled: true}", server.URL()))
	poison := "\x1b]0;owned\x07 {\"secret\":\"whsec_A\""
	a := &app{ctx: t.Context(), environ: nil}
	err := a.withQueue(config, func(q *queue.Queue) error {
		server.Client().XAdd(t.Context(), &redis.XAddArgs{Stream: "carillon:inbox", Values: map[string]any{"event": poison}})
		entries, err := q.InboxReader("c").Read(t.Context(), 1)
		if err != nil || len(entries) != 1 {
			return fmt.Errorf("%d entries: %w", len(entries), err)
		}
		return q.BuryInbox(t.Context(), entries[0], "malformed", "no JSON: \x1b[31m")
	})
	if err != nil {
		t.Fatal(err)
	}
	list := carillon(t, nil, "dead", "list", "--config", config, "--since", "1h")
	id, _, _ := strings.Cut(strings.Split(list.stdout+"\n\n", "\n")[1], " ")
	show := carillon(t, nil, "dead", "show", id, "--config", config)
	if list.code != 0 || show.code != 0 || !strings.Contains(show.stdout, "owned") {
		t.Errorf("list %+v, show %+v", list, show)
	}
	for _, out := range []string{list.stdout, show.stdout} {
		if strings.ContainsAny(out, "\x1b\x07") || strings.Contains(out, "whsec_A") {
			t.Errorf("harmful: %q", out)
		}
	}
	for args, want := range map[string]string{
		"dead list --since yesterday":       `--since: "yesterday" is neither a time`,
		"dead redrive --all --rate fast":    `--rate: "fast"`,
		"dead redrive --all --channel smok": `--channel: "smok" is no channel`,
	} {
		if got := carillon(t, nil, append(strings.Fields(args), "--config", config)...); got.code != 2 || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %+v, want exit code 2 and %s", args, got, want)
		}
	}
	if got := carillon(t, nil, "dead", "purge", "--until", "1h", "--config", config); got.stdout != "purged: 0\n" {
		t.Errorf("purging what died an hour ago: %+v", got)
	}
}
