package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/carillonhq/carillon/channels/sandbox"
	"github.com/carillonhq/carillon/config"
	"github.com/carillonhq/carillon/notice"
)

// startPreview runs `carillon preview serve` until the test ends, and returns
// its address.
func startPreview(t *testing.T, environ []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"preview", "serve", "--catalogue", testCatalogue}, args...), environ, strings.NewReader(""), in, io.Discard)
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("preview serve ended with %d", code)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the address: %v", err)
	}
	return regexp.MustCompile(`http://\S+`).FindString(line)
}

func postJSON(t *testing.T, url, token, body string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Preview-Token", token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// previewConfig is a configuration whose mails and webhooks the sandbox takes.
func previewConfig(t *testing.T, box *sandbox.Sandbox) string {
	t.Helper()
	host, port, _ := strings.Cut(box.SMTPAddr, ":")
	file := filepath.Join(t.TempDir(), "carillon.yaml")
	text := "channels:\n  email:\n    smtp: {host: " + host + ", port: " + port + ", tls: none}\n    from: \"Acme <no-reply@acme.example>\"\n" +
		"  webhook: {timeout: 5s, allow_networks: [127.0.0.0/8]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

var previewToken = regexp.MustCompile(`"token":"([^"]+)"`)

func TestPreviewServeSendsTestsThroughTheConfiguredChannels(t *testing.T) {
	box, err := sandbox.Start(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	base := startPreview(t, nil, "--config", previewConfig(t, box))
	response, err := http.Get(base + "api/catalogue")
	if err != nil {
		t.Fatal(err)
	}
	catalogue, _ := io.ReadAll(response.Body)
	response.Body.Close()
	token := previewToken.FindSubmatch(catalogue)
	if token == nil || strings.Contains(string(catalogue), `"apns"`) {
		t.Fatalf("the catalogue has no token, or offers a channel that is off: %s", catalogue)
	}
	mail := `{"template":"order-shipped","locale":"de","data":"{\"order\":\"A-7\"}","destination":"email","to":"grace@example.com"}`
	if answer := postJSON(t, base+"api/test", string(token[1]), mail); !strings.Contains(answer, `"ok":true`) {
		t.Fatalf("the mail: %s", answer)
	}
	hook := strings.NewReplacer(`"email"`, `"webhook"`, "grace@example.com", box.WebhookURL+"/x").Replace(mail)
	if answer := postJSON(t, base+"api/test", string(token[1]), hook); !strings.Contains(answer, `"ok":true`) {
		t.Fatalf("the webhook: %s", answer)
	}
	if answer := postJSON(t, base+"api/test", string(token[1]), strings.Replace(mail, "grace@", "nobody ", 1)); strings.Contains(answer, `"ok":true`) || strings.Contains(answer, "nobody") {
		t.Errorf("to what is no mailbox: %s", answer)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := box.Wait(ctx, 1, sandbox.Filter{Channel: notice.ChannelEmail})
	if err != nil || len(got) != 1 || !strings.Contains(got[0].Raw, "grace@example.com") {
		t.Errorf("the sandbox got %+v (%v)", got, err)
	}
}

func TestPreviewServeSendsNothingWithoutAConfiguration(t *testing.T) {
	base := startPreview(t, []string{config.PathVariable + "=/nowhere.yaml"})
	if answer := postJSON(t, base+"api/test", "", "{}"); !strings.Contains(answer, "--config FILE") {
		t.Errorf("a test was answered with %s", answer)
	}
	rendered := postJSON(t, base+"api/render", "", `{"template":"order-shipped","data":"{\"order\":\"A-7\"}"}`)
	for _, want := range []string{`"value":"<0-sample00000000000000@service.example>"`, `"service":"APNs"`, `"most":4096`, `"name":"webhook-signature"`, exampleSecret} {
		if !strings.Contains(rendered, want) {
			t.Errorf("the rendering lacks %s: %.2000s", want, rendered)
		}
	}
}

func TestPreviewServeWithChannelsStaysOnLoopback(t *testing.T) {
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"preview", "serve", "--catalogue", testCatalogue, "--listen", "0.0.0.0:0", "--config", "x.yaml"}, nil, strings.NewReader(""), io.Discard, &stderr)
	if code != 2 || !strings.Contains(stderr.String(), `whoever reaches "0.0.0.0:0" could send`) {
		t.Errorf("code %d: %s", code, stderr.String())
	}
}

func TestPreviewServeOpensTheBrowser(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a stand-in for xdg-open is Linux's")
	}
	dir := t.TempDir()
	opened := filepath.Join(dir, "opened")
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\necho \"$1\" > "+opened+".new && mv "+opened+".new "+opened+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	base := startPreview(t, nil, "--open")
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if url, err := os.ReadFile(opened); err == nil {
			if strings.TrimSpace(string(url)) != base {
				t.Errorf("opened %s, want %s", url, base)
			}
			return
		}
	}
	t.Error("no browser was opened")
}

func TestEverySystemHasItsWayToOpenABrowser(t *testing.T) {
	for system, want := range map[string]string{"linux": "xdg-open URL", "darwin": "open URL", "windows": "rundll32 url.dll,FileProtocolHandler URL", "freebsd": "xdg-open URL"} {
		if got := strings.Join(browserCommand(t.Context(), system, "URL").Args, " "); got != want {
			t.Errorf("%s: %s, want %s", system, got, want)
		}
	}
}
