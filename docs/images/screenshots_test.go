// Package images retakes the screenshots beside it from a running
// `carillon dev`:
//
//	CARILLON_SCREENSHOTS=docs/images go test -run Screenshots ./docs/images
//
// Without the variable there is nothing to do.
package images

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/carillonhq/carillon/e2e/browser"
)

// maxSize bounds a picture, in bytes: the repository keeps every one for ever.
const maxSize = 150 << 10

func TestScreenshots(t *testing.T) {
	dir := os.Getenv("CARILLON_SCREENSHOTS")
	if dir == "" {
		t.Skip("set CARILLON_SCREENSHOTS to the folder that the pictures go to, seen from the repository's root")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", "..", dir)
	}
	catalogue := filepath.Join(t.TempDir(), "catalogue")
	if err := os.CopyFS(catalogue, os.DirFS("../../examples/shop/catalogue")); err != nil {
		t.Fatal(err)
	}
	base, first := startDev(t, catalogue)
	send(t, first)
	chromium := browser.Launch(t)
	desktop, phone := look{1440, 900, "light"}, look{360, 1120, "dark"}
	for _, shot := range []struct {
		file, url, click, ready string
		look                    look
	}{
		{"inbox-email.png", base + "/dev/inbox/", `.row[data-channel=email]`, `.frame`, desktop},
		{"inbox-push.png", base + "/dev/inbox/", `.row[data-channel=apns]`, `.push.ios`, desktop},
		{"preview.png", base + "/dev/preview/#order-shipped?beside=de", ``, `.pane + .pane iframe.mail`, desktop},
		{"preview-push.png", base + "/dev/preview/#order-shipped?channel=push&push=expanded", ``, `.ios .note.expanded`, phone},
		{"preview-fault.png", base + "/dev/preview/#order-shipped?channel=source&file=order-shipped/en/email.html", ``, `#source .faulty`, desktop},
	} {
		if shot.file == "preview-fault.png" {
			breakTemplate(t, catalogue)
		}
		picture := take(t, chromium, shot.look, shot.url, shot.click, shot.ready)
		if err := os.WriteFile(filepath.Join(dir, shot.file), picture, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", shot.file, len(picture))
	}
}

// startDev builds and runs `carillon dev` until the test ends. It returns its
// address and the command line that it prints for a first notification.
func startDev(t *testing.T, catalogue string) (base, first string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "carillon")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/carillon").CombinedOutput(); err != nil {
		t.Fatalf("building carillon: %v\n%s", err, out)
	}
	dev := exec.CommandContext(t.Context(), binary, "dev", "--listen", "127.0.0.1:0", "--catalogue", catalogue)
	dev.Cancel = func() error { return dev.Process.Signal(os.Interrupt) }
	dev.WaitDelay = 10 * time.Second
	out, err := dev.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dev.Wait() }) // interrupted when the test's context ends, just before
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "curl ") {
			go io.Copy(io.Discard, out)
			return regexp.MustCompile(`http://[^/ ]+`).FindString(line), line
		}
	}
	t.Fatal("carillon dev printed no curl line")
	return "", ""
}

// send pastes a command line into a shell.
func send(t *testing.T, line string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"accepted"`) {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// look is a screen, and the theme that its owner prefers.
type look struct {
	width, height int64
	theme         string
}

// breakTemplate makes the mistake that the picture of a fault is of.
func breakTemplate(t *testing.T, catalogue string) {
	t.Helper()
	name := filepath.Join(catalogue, "order-shipped", "en", "email.html")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Replace(text, []byte(".data.carrier"), []byte(".data.carier"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
}

// take opens a page in a tab of its own, clicks what is named, and takes a picture once everything
// has come and stands still.
func take(t *testing.T, chromium context.Context, l look, url, click, ready string) []byte {
	t.Helper()
	tab, closeTab := chromedp.NewContext(chromium)
	defer closeTab()
	steps := []chromedp.Action[chromedp.Void]{chromedp.EmulateViewport(l.width, l.height), browser.Scheme(l.theme), chromedp.Navigate(url)}
	if click != "" {
		all := `document.querySelectorAll('.row').length === 4` // the mail, two pushes, the webhook
		steps = append(steps, until(all), chromedp.Click(chromedp.CSS(click)))
	}
	steps = append(steps, chromedp.WaitVisible(chromedp.CSS(ready)), chromedp.MouseEvent(chromedp.MouseMoved, 720, 5))
	if err := chromedp.Do(tab, steps...); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	for before := []byte(nil); ; {
		time.Sleep(500 * time.Millisecond) // two equal pictures this far apart are of a page at rest
		now, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		if bytes.Equal(before, now) {
			return small(t, now)
		}
		before = now
	}
}

func until(condition string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](condition, chromedp.WithPollingTimeout(10*time.Second)))
		if err != nil {
			return fmt.Errorf("%s: %w", condition, err)
		}
		return nil
	})
}

// small packs a picture as PNG with a palette.
func small(t *testing.T, picture []byte) []byte {
	t.Helper()
	decoded, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatalf("reading a picture: %v", err)
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, indexed(decoded)); err != nil {
		t.Fatalf("packing a picture: %v", err)
	}
	if out.Len() > maxSize {
		t.Errorf("a picture of %d bytes: %d at most", out.Len(), maxSize)
	}
	return out.Bytes()
}

// indexed is a picture in 256 of its colours; the few other pixels, of a
// gradient or a letter's edge, take the nearest of them.
func indexed(picture image.Image) image.Image {
	box := picture.Bounds()
	frequency := map[color.Color]int{}
	each(box, func(x, y int) { frequency[picture.At(x, y)]++ })
	palette := choose(frequency)
	nearest := map[color.Color]uint8{}
	out := image.NewPaletted(box, palette)
	each(box, func(x, y int) {
		c := picture.At(x, y)
		index, known := nearest[c]
		if !known {
			index = uint8(palette.Index(c))
			nearest[c] = index
		}
		out.SetColorIndex(x, y, index)
	})
	return out
}

func each(box image.Rectangle, visit func(x, y int)) {
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			visit(x, y)
		}
	}
}

// choose is the most frequent colour of each kind, so that a small green dot
// stays green, and then the most frequent of all, 256 together.
func choose(frequency map[color.Color]int) color.Palette {
	all := slices.SortedFunc(maps.Keys(frequency), func(a, b color.Color) int { return frequency[b] - frequency[a] })
	var first, rest color.Palette
	kinds := map[[3]uint32]bool{}
	for _, c := range all {
		r, g, b, _ := c.RGBA()
		kind := [3]uint32{r >> 13, g >> 13, b >> 13} // eight steps each
		if kinds[kind] {
			rest = append(rest, c)
			continue
		}
		kinds[kind] = true
		first = append(first, c)
	}
	palette := append(first, rest...)
	return palette[:min(len(palette), 256)]
}
