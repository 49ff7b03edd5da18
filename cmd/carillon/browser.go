package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// browserCommand is how a system opens a URL in its user's browser.
func browserCommand(ctx context.Context, system, url string) *exec.Cmd {
	switch system {
	case "darwin":
		return exec.CommandContext(ctx, "open", url)
	case "windows":
		return exec.CommandContext(ctx, "rundll32", "url.dll,FileProtocolHandler", url)
	}
	return exec.CommandContext(ctx, "xdg-open", url)
}

// browserWait is how long a browser may take to say that it cannot be started.
// Some openers return only when their browser is closed: those are left alone.
const browserWait = 3 * time.Second

// openInBrowser shows a page; a machine without a browser is no reason to
// fail, for whoever asked has the address.
func openInBrowser(a *app, url string) {
	cmd := browserCommand(context.WithoutCancel(a.ctx), runtime.GOOS, url) // it outlives us
	ended := make(chan error, 1)
	err := cmd.Start()
	if err == nil {
		go func() { ended <- cmd.Wait() }()
		select {
		case err = <-ended:
		case <-time.After(browserWait):
		case <-a.ctx.Done():
		}
	}
	if err != nil {
		fmt.Fprintf(a.stderr, "--open: no browser could be started (%v): open the address yourself\n", err)
	}
}

// openFile says where a file is, and shows it when that was asked for.
func openFile(a *app, file string, open bool) error {
	absolute, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	if !open {
		return nil
	}
	location := filepath.ToSlash(absolute)
	if !strings.HasPrefix(location, "/") { // C:/…
		location = "/" + location
	}
	address := (&url.URL{Scheme: "file", Path: location}).String()
	if _, err := fmt.Fprintln(a.stdout, address); err != nil {
		return err
	}
	openInBrowser(a, address)
	return nil
}

// colours reports whether what is printed is read by a person at a terminal
// who wants colours (no-color.org).
func (a *app) colours() bool { return isTerminal(a.stdout, a.environ) }

func isTerminal(w io.Writer, environ []string) bool {
	for _, v := range environ {
		if name, value, _ := strings.Cut(v, "="); name == "NO_COLOR" && value != "" || v == "TERM=dumb" {
			return false
		}
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
