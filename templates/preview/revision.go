package preview

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Checkout writes a catalogue's folder as it was at a revision of git into a
// folder of its own, and returns that; the caller removes it. It asks the git
// on the path, through no shell, and changes nothing in the repository.
func Checkout(ctx context.Context, dir, revision string) (string, error) {
	g := repository{ctx, dir}
	if _, err := g.run("rev-parse", "--is-inside-work-tree"); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return "", fmt.Errorf("revision %q: there is no git on the path: install it, or name another catalogue's folder", revision)
		}
		return "", fmt.Errorf("%q is no folder, and as a revision it says nothing, for %s is in no git repository: name another catalogue's folder", revision, dir)
	}
	commit, err := g.run("rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("%q is neither a folder nor a revision of git: name one like HEAD~1, main or v1.2.0, or another catalogue's folder", revision)
	}
	tree, err := g.run("rev-parse", "--verify", "--quiet", commit+":./")
	if err != nil {
		return "", fmt.Errorf("revision %q: the folder %s was not there then", revision, dir)
	}
	into, err := os.MkdirTemp("", "carillon-revision-")
	if err != nil {
		return "", fmt.Errorf("revision %q: %w", revision, err)
	}
	if err := g.extract(tree, into); err != nil {
		_ = os.RemoveAll(into) // it is in the temporary folder
		return "", fmt.Errorf("revision %q: %w", revision, err)
	}
	return into, nil
}

// repository is the git repository that a folder is in.
type repository struct {
	ctx context.Context
	dir string
}

func (g repository) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(g.ctx, "git", append([]string{"-C", g.dir}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1")
	return cmd
}

func (g repository) run(args ...string) (string, error) {
	out, err := g.command(args...).Output()
	return strings.TrimSpace(string(out)), err
}

// blob is one file of a tree.
type blob struct{ mode, object, path string }

// extract writes a tree's files. They are taken as git stores them: attributes
// that leave files out of archives or rewrite them say nothing about templates.
func (g repository) extract(tree, into string) error {
	list, err := g.command("ls-tree", "-r", "-z", "--full-tree", tree).Output()
	if err != nil {
		return fmt.Errorf("list its files: %w", err)
	}
	var blobs []blob
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		about, path, ok := strings.Cut(entry, "\t")
		if fields := strings.Fields(about); ok && len(fields) == 3 && fields[1] == "blob" {
			blobs = append(blobs, blob{fields[0], fields[2], path})
		}
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer root.Close()
	return g.contents(blobs, func(b blob, text []byte) error { return b.write(root, text) })
}

// contents has one git hand out all the files.
func (g repository) contents(blobs []blob, each func(blob, []byte) error) error {
	var asked bytes.Buffer
	for _, b := range blobs {
		asked.WriteString(b.object + "\n")
	}
	cmd := g.command("cat-file", "--batch")
	cmd.Stdin = &asked
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start git: %w", err)
	}
	r := bufio.NewReader(out)
	for _, b := range blobs {
		text, err := readObject(r)
		if err == nil {
			err = each(b, text)
		}
		if err != nil {
			_ = out.Close() // git has nobody to write to, and ends
			_ = cmd.Wait()
			return fmt.Errorf("%s: %w", b.path, err)
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("git cat-file: %w", err)
	}
	return nil
}

// mostObject bounds a file, in bytes: no source may have as many.
const mostObject = 16 << 20

// readObject reads "OBJECT TYPE SIZE\nCONTENT\n" (git-cat-file(1), --batch).
func readObject(r *bufio.Reader) ([]byte, error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(head)
	if len(fields) != 3 {
		return nil, errors.New("git does not have it: fetch it first")
	}
	size, err := strconv.Atoi(fields[2])
	if err != nil || size > mostObject {
		return nil, fmt.Errorf("has %s bytes: no file of a catalogue may have as many", fields[2])
	}
	text := make([]byte, size+1)
	_, err = io.ReadFull(r, text)
	return text[:size], err
}

// write writes the file, which may be a link to another of the same tree.
func (b blob) write(root *os.Root, text []byte) error {
	name := filepath.FromSlash(b.path)
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if b.mode == "120000" {
		return root.Symlink(string(text), name)
	}
	return root.WriteFile(name, text, 0o644)
}
