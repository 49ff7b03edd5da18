package config

import "reflect"

// Renewal is what becomes of a running process's configuration when its file
// was read again.
type Renewal struct {
	Config  *Config  // what it goes on with
	Changed []string // the keys that follow the file, and differed
	Waiting []string // the keys that differ, and take a restart
}

// Renew takes those values from read that may change while a process runs, and
// keeps all others of c. A list counts as one key; where only some keys of its
// elements are live, it follows while nothing else of it differs. Values are not named, since
// some are secrets. Neither c nor read is changed, and the result shares what it
// may with both. The error is a Faults: what was good in one file need not be
// beside values of another.
func (c *Config) Renew(read *Config) (Renewal, error) {
	next := *c
	w := renewing{}
	w.section("", reflect.ValueOf(&next).Elem(), reflect.ValueOf(read).Elem(), false)
	if faults := next.Validate(); len(faults) > 0 {
		return Renewal{}, faults
	}
	return Renewal{&next, w.changed, w.waiting}, nil
}

// renewing is one comparison on its way through the sections.
type renewing struct{ changed, waiting []string }

// section takes from read into next, a section of its own, what is live. live
// says that the whole section is.
func (w *renewing) section(path string, next, read reflect.Value, live bool) {
	for _, f := range fieldsOf(next.Type()) {
		w.key(child(path, f.key), next.FieldByIndex(f.index), read.FieldByIndex(f.index), live || f.live)
	}
}

// key compares one key.
func (w *renewing) key(path string, next, read reflect.Value, live bool) {
	switch {
	case reflect.DeepEqual(next.Interface(), read.Interface()):
	case next.Kind() == reflect.Pointer && !next.IsNil() && !read.IsNil():
		own := reflect.New(next.Type().Elem())
		own.Elem().Set(next.Elem())
		next.Set(own)
		w.section(path, own.Elem(), read.Elem(), live)
	case next.Kind() == reflect.Struct && shapeOf(next.Type()) == shapeSection:
		w.section(path, next, read, live)
	case !live && next.Kind() == reflect.Slice && w.elements(path, next, read):
	case live:
		next.Set(read)
		w.changed = append(w.changed, path)
	default:
		w.waiting = append(w.waiting, path)
	}
}

// elements takes what is live of each element of a list, when nothing else of
// the list differs: otherwise who knows which element is which.
func (w *renewing) elements(path string, next, read reflect.Value) bool {
	if shapeOf(next.Type()) != shapeList || next.Len() != read.Len() || shapeOf(next.Type().Elem()) != shapeSection {
		return false
	}
	own, trial := reflect.MakeSlice(next.Type(), next.Len(), next.Len()), renewing{}
	reflect.Copy(own, next)
	for i := range own.Len() {
		trial.section(path, own.Index(i), read.Index(i), false)
	}
	if len(trial.waiting) > 0 {
		return false
	}
	next.Set(own)
	w.changed = append(w.changed, path)
	return true
}
