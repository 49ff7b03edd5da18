package templates

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// onDisk makes a catalogue of "path", "text" pairs in a folder.
func onDisk(t *testing.T, pairs ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "catalogue")
	if err := os.CopyFS(dir, folder(pairs...)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestACatalogueReadsNothingBesideItself(t *testing.T) {
	for _, c := range []struct {
		name  string
		place func(dir string) error
		where string
		words string
	}{
		{"a file that is a link to elsewhere", func(dir string) error {
			return os.Symlink("/etc/hostname", dir+"/m/en/email.html")
		}, "m/en/email.html:1:1", "a link that cannot be followed within the catalogue"},
		{"a file that is a link upwards", func(dir string) error {
			return os.Symlink("../../../secret", dir+"/m/en/email.html")
		}, "m/en/email.html:1:1", "within the catalogue"},
		{"a pipe", func(dir string) error { return syscall.Mkfifo(dir+"/m/en/email.html", 0o600) }, "m/en/email.html:1:1", "no regular file"},
		{"a link to a pipe", func(dir string) error {
			if err := syscall.Mkfifo(dir+"/.pipe", 0o600); err != nil {
				return err
			}
			return os.Symlink("../../.pipe", dir+"/m/en/email.html")
		}, "m/en/email.html:1:1", "no regular file"},
		{"a file without end", func(dir string) error {
			return os.WriteFile(dir+"/m/en/email.html", make([]byte, maxSource+1), 0o600)
		}, "m/en/email.html:1:1", "more than the 262144 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := onDisk(t, "m/en/email.subject.txt", "s", "m/en/email.txt", "t")
			if err := os.WriteFile(filepath.Dir(dir)+"/secret", []byte("secret"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := c.place(dir); err != nil {
				t.Fatal(err)
			}
			loaded, err := LoadDir(dir)
			if err == nil || loaded != nil || !strings.HasPrefix(err.Error(), c.where) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("loaded %v, error %v, want %s … %s", loaded, err, c.where, c.words)
			}
		})
	}
}

func TestATemplateThatIsALinkToAnotherFolderIsRefused(t *testing.T) {
	dir := onDisk(t, "m/en/push.title.txt", "t")
	if err := os.Symlink(onDisk(t, "en/push.title.txt", "secret"), dir+"/stolen"); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadDir(dir); err == nil || !strings.HasPrefix(err.Error(), "stolen:1:1: is a link") {
		t.Errorf("error %v, want a fault at stolen", err)
	}
}

func TestLinksWithinTheCatalogueAreFollowed(t *testing.T) {
	dir := onDisk(t, "..2027/m/en/push.title.txt", "t")
	for link, to := range map[string]string{"..data": "..2027", "m": "..data/m"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Template("m"); !ok {
		t.Errorf("templates %v, want m", c.Names())
	}
}
