package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// positionFile is where a folder keeps its state.
const positionFile = "position.json"

// folder is a folder of archived files that this process alone writes.
type folder struct {
	dir  string
	lock *os.File
}

// openFolder makes the folder and takes its lock, which ends with the process.
func openFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("opening the archive: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("opening the archive: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s: another archive writes this folder: stop it, or choose another folder", dir)
	}
	return &folder{dir: dir, lock: lock}, nil
}

func (f *folder) close() { f.lock.Close() }

func (f *folder) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

// load reads the stored state; a new folder's is empty. A folder that holds
// archived files and no state is refused: they would be written again.
func (f *folder) load() (state, error) {
	text, err := os.ReadFile(f.path(positionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, f.refuseFiles()
	}
	if err != nil {
		return state{}, fmt.Errorf("reading the archive's position: %w", err)
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return state{}, fmt.Errorf("%s cannot be read: restore it, or begin another folder: %w", f.path(positionFile), err)
	}
	if s.Version != stateVersion {
		return state{}, fmt.Errorf("%s is of version %d, this program writes %d: use the release that wrote it", f.path(positionFile), s.Version, stateVersion)
	}
	for name := range s.Files {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return state{}, fmt.Errorf("%s names the file %q, which is not inside the folder", f.path(positionFile), name)
		}
	}
	return s, nil
}

func (f *folder) refuseFiles() error {
	found, err := filepath.Glob(filepath.Join(f.dir, "[0-9][0-9][0-9][0-9]"))
	if err != nil {
		return fmt.Errorf("looking for archived files: %w", err)
	}
	if len(found) > 0 {
		return fmt.Errorf("%s has archived files and no %s, so where to go on is not known: restore it, or begin another folder", f.dir, positionFile)
	}
	return nil
}

// store replaces the stored state: after a crash it is the old one or the new
// one, never a part.
func (f *folder) store(s state) error {
	text, err := json.Marshal(&s, json.Deterministic(true), jsontext.WithIndent(" "))
	if err != nil {
		return fmt.Errorf("writing the archive's position: %w", err)
	}
	next := f.path(positionFile + ".next")
	if err := writeSynced(next, text); err != nil {
		return fmt.Errorf("writing the archive's position: %w", err)
	}
	if err := os.Rename(next, f.path(positionFile)); err != nil {
		return fmt.Errorf("writing the archive's position: %w", err)
	}
	return syncFolder(f.dir)
}

func writeSynced(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Sync(), file.Close())
}

// size is how long a file is; 0 when there is none.
func (f *folder) size(name string) (int64, error) {
	info, err := os.Stat(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("archiving: %w", err)
	}
	return info.Size(), nil
}

// append adds text to a file that is size long, makes sure that it is on disk,
// and returns the size behind it.
func (f *folder) append(name string, size int64, text []byte) (int64, error) {
	made, err := f.makeFolders(filepath.Dir(f.path(name)), size)
	if err != nil {
		return 0, err
	}
	file, err := os.OpenFile(f.path(name), os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return 0, fmt.Errorf("archiving: %w", err)
	}
	_, err = file.WriteAt(text, size)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return 0, fmt.Errorf("archiving: %w", err)
	}
	for _, dir := range made {
		if err := syncFolder(dir); err != nil {
			return 0, err
		}
	}
	return size + int64(len(text)), nil
}

// makeFolders makes a new file's folders and returns those whose entries must
// be synced with it.
func (f *folder) makeFolders(dir string, size int64) (changed []string, err error) {
	if size > 0 {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("archiving: %w", err)
	}
	for root := filepath.Clean(f.dir); ; dir = filepath.Dir(dir) {
		changed = append(changed, dir)
		if dir == root || len(dir) <= len(root) {
			return changed, nil
		}
	}
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}

// cut shortens a file to size and returns by how much. A file that is gone or
// shorter was moved away by somebody, and what was in it is theirs.
func (f *folder) cut(name string, size int64) (int64, error) {
	now, err := f.size(name)
	if err != nil || now <= size {
		return 0, err
	}
	file, err := os.OpenFile(f.path(name), os.O_WRONLY, 0)
	if err != nil {
		return 0, fmt.Errorf("cutting off a torn line: %w", err)
	}
	if err := errors.Join(file.Truncate(size), file.Sync(), file.Close()); err != nil {
		return 0, fmt.Errorf("cutting off a torn line: %w", err)
	}
	return now - size, nil
}
