package faultfs

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ncruces/go-sqlite3"

	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

// Files is the disk for the files beside the database.
func (d *Disk) Files() durable.FS { return files{d} }

// files implements durable.FS over the operating system, and keeps what would survive.
type files struct{ disk *Disk }

// tree is the directories as they would survive: names change when their directory is synced.
type tree struct {
	names   map[string]*image // that were touched: what stands under the name after the last sync of its directory; nil is nothing
	pending []func()          // changes of names since, in order
	dirty   []string          // and what each is about
	open    map[string]*image // by the name of now
}

// touch remembers what stood under a name before the first change.
func (t *tree) touch(path string) {
	if t.names == nil {
		t.names, t.open = map[string]*image{}, map[string]*image{}
	}
	if _, known := t.names[path]; known {
		return
	}
	t.names[path] = nil
	if content, err := os.ReadFile(path); err == nil {
		t.names[path] = &image{durable: share(content), exists: true}
		t.open[path] = t.names[path]
	}
}

func (t *tree) change(path string, to *image) {
	t.open[path] = to
	t.pending = append(t.pending, func() { t.names[path] = to })
	t.dirty = append(t.dirty, filepath.Dir(path))
}

func (t *tree) sync(dir string) {
	for i := 0; i < len(t.pending); {
		if t.dirty[i] != dir {
			i++
			continue
		}
		t.pending[i]()
		t.pending, t.dirty = append(t.pending[:i], t.pending[i+1:]...), append(t.dirty[:i], t.dirty[i+1:]...)
	}
}

// restore leaves half of the changes of names that were not synced, and half of the writes.
func (t *tree) restore() error {
	for _, change := range t.pending[:(len(t.pending)+1)/2] {
		change()
	}
	for path, f := range t.names {
		_ = os.Remove(path)
		if f == nil {
			continue
		}
		content := f.durable.copy()
		for _, w := range f.pending {
			w.data = w.data[:len(w.data)/2]
			content.apply(w)
		}
		if err := os.WriteFile(path, content.bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (f files) do(what, path string, op func() error) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(what, path); err != nil {
		return &os.PathError{Op: what, Path: path, Err: err}
	}
	return op()
}

func (f files) ReadFile(path string) ([]byte, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.dead {
		return nil, &os.PathError{Op: "read", Path: path, Err: sqlite3.IOERR}
	}
	return os.ReadFile(path)
}

func (f files) Mode(path string) (fs.FileMode, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.dead {
		return 0, &os.PathError{Op: "stat", Path: path, Err: sqlite3.IOERR}
	}
	return durable.OS{}.Mode(path)
}

func (f files) Temp(dir string) (durable.File, error) {
	var made *tempFile
	err := f.do("create", filepath.Join(dir, "new"), func() error {
		file, err := os.CreateTemp(dir, ".new-")
		if err != nil {
			return err
		}
		f.disk.tree.touch(file.Name())
		f.disk.tree.names[file.Name()] = nil
		image := &image{exists: true}
		f.disk.tree.change(file.Name(), image)
		made = &tempFile{File: file, files: f, image: image}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

func (f files) Rename(from, to string) error {
	return f.do("rename", to, func() error {
		f.disk.tree.touch(to)
		moved := f.disk.tree.open[from]
		if err := os.Rename(from, to); err != nil {
			return err
		}
		// One change: a name is never without its file in between.
		f.disk.tree.open[from], f.disk.tree.open[to] = nil, moved
		t := &f.disk.tree
		t.pending, t.dirty = append(t.pending, func() { t.names[from], t.names[to] = nil, moved }), append(t.dirty, filepath.Dir(to))
		return nil
	})
}

func (f files) Link(from, to string) error {
	return f.do("link", to, func() error {
		f.disk.tree.touch(to)
		if err := os.Link(from, to); err != nil {
			return err
		}
		f.disk.tree.change(to, f.disk.tree.open[from])
		return nil
	})
}

func (f files) Remove(path string) error {
	return f.do("remove", path, func() error {
		f.disk.tree.touch(path)
		if err := os.Remove(path); err != nil {
			return err
		}
		f.disk.tree.change(path, nil)
		return nil
	})
}

func (f files) SyncDir(dir string) error {
	return f.do("syncdir", dir, func() error {
		f.disk.tree.sync(dir)
		return nil
	})
}

// tempFile is one that is being written.
type tempFile struct {
	*os.File
	files files
	image *image
}

func (t *tempFile) Write(b []byte) (n int, err error) {
	err = t.files.do("write", t.Name(), func() error {
		offset := t.image.durable.size
		for _, w := range t.image.pending {
			offset = max(offset, w.offset+int64(len(w.data)))
		}
		t.image.pending = append(t.image.pending, write{offset: offset, data: append([]byte(nil), b...)})
		n, err = t.File.Write(b)
		return err
	})
	return n, err
}

func (t *tempFile) Sync() error {
	return t.files.do("sync", t.Name(), func() error {
		for _, w := range t.image.pending {
			t.image.durable.apply(w)
		}
		t.image.pending = nil
		return nil
	})
}
