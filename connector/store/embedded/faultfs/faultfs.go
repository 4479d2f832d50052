// Package faultfs is a disk for tests: it counts every write, sync, truncation, rename and deletion that SQLite makes, and those of the files
// beside it, and fails at the one it is told to: by an I/O error, by having no room from then on until some is made, or by losing its power,
// which takes with it what was not synced.
package faultfs

import (
	"os"
	"strings"
	"sync"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// Mode is how the disk fails.
type Mode string

// The modes.
const (
	None      Mode = "none"
	IOError   Mode = "I/O error"
	NoRoom    Mode = "no room"
	PowerLoss Mode = "power loss"
)

// Disk implements vfs.VFS over the operating system's file layer, or over memory.
type Disk struct {
	layer
	name string
	mode Mode
	at   int // operation that fails, from 1

	mu    sync.Mutex
	count int
	log   []operation
	dead  bool // has no power
	full  bool // has no room
	files map[string]*image
	tree  tree // the files beside the database
}

type operation struct{ what, path string }

// image is what of a file would survive.
type image struct {
	durable blob
	exists  bool
	pending []write // since the last sync
}

type write struct {
	offset   int64
	data     []byte
	truncate bool
}

// Register makes a disk that fails in the mode at the given operation; its name opens it. Close unregisters it.
func Register(name string, mode Mode, at int) *Disk {
	return register(name, mode, at, system{vfs.Find("").(vfs.VFSFilename)})
}

func register(name string, mode Mode, at int, below layer) *Disk {
	d := &Disk{layer: below, name: name, mode: mode, at: at, files: map[string]*image{}}
	vfs.Register(name, d)
	return d
}

// Close takes the disk out of the registry.
func (d *Disk) Close() { vfs.Unregister(d.name) }

// Name opens the disk.
func (d *Disk) Name() string { return d.name }

// Operations lists what was done, in order.
func (d *Disk) Operations() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]string, len(d.log))
	for i, o := range d.log {
		out[i] = o.what + " " + o.path[strings.LastIndexByte(o.path, '/')+1:]
	}
	return out
}

// LosePower takes the power away at the operation that many from now: 1 is the next one, 0 is at once.
func (d *Disk) LosePower(in int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mode, d.at, d.dead = PowerLoss, d.count+in, in == 0
}

// KeepPower takes LosePower back, unless the power is gone already.
func (d *Disk) KeepPower() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mode = None
}

// Dead reports whether the power is gone.
func (d *Disk) Dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// Full reports whether the disk has no room now.
func (d *Disk) Full() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.full
}

// MakeRoom lets a full disk take writes again.
func (d *Disk) MakeRoom() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = false
}

// step counts an operation and says whether it fails. The caller holds mu.
func (d *Disk) step(what, path string) error {
	if d.dead {
		return sqlite3.IOERR
	}
	d.count++
	d.log = append(d.log, operation{what, path})
	if d.count == d.at && d.mode == NoRoom {
		d.full = true
	}
	if d.full && (what == "write" || what == "sync" || what == "create" || what == "link") {
		return sqlite3.FULL // what was written may find its room only when it is synced; to shorten and to delete need none
	}
	if d.count != d.at {
		return nil
	}
	switch d.mode {
	case IOError:
		return sqlite3.IOERR
	case PowerLoss:
		d.dead = true
		return sqlite3.IOERR
	}
	return nil
}

// Restore puts the files into the state after the power came back: what was synced, then half of the writes that were not, the next one torn.
// It must be called after the database was closed.
func (d *Disk) Restore() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, f := range d.files {
		_ = os.Remove(path + "-shm")
		content := f.durable.copy()
		for i, w := range f.pending[:(len(f.pending)+1)/2] {
			if i == len(f.pending)/2 {
				w.data = w.data[:len(w.data)/2]
			}
			content.apply(w)
		}
		if !f.exists && content.size == 0 {
			d.remove(path)
			continue
		}
		if err := d.layer.write(path, content); err != nil {
			return err
		}
	}
	return d.tree.restore()
}

// Open implements vfs.VFS.
func (d *Disk) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	return d.opened(name, func() (vfs.File, vfs.OpenFlag, error) { return vfsutil.WrapOpen(d.layer, name, flags) })
}

// OpenFilename implements vfs.VFSFilename.
func (d *Disk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	return d.opened(name.String(), func() (vfs.File, vfs.OpenFlag, error) { return vfsutil.WrapOpenFilename(d.layer, name, flags) })
}

func (d *Disk) opened(name string, open func() (vfs.File, vfs.OpenFlag, error)) (vfs.File, vfs.OpenFlag, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, 0, sqlite3.CANTOPEN
	}
	before, statErr := d.read(name)
	f, flags, err := open()
	if err != nil || name == "" {
		return f, flags, err
	}
	if d.files[name] == nil {
		d.files[name] = &image{durable: before, exists: statErr == nil}
	}
	return &file{File: f, disk: d, path: name, image: d.files[name]}, flags, nil
}

// Delete implements vfs.VFS.
func (d *Disk) Delete(name string, sync bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("delete", name); err != nil {
		return err
	}
	if f := d.files[name]; f != nil && sync {
		*f = image{}
	}
	return d.layer.Delete(name, sync)
}

// file passes everything on and keeps the image.
type file struct {
	vfs.File
	disk  *Disk
	path  string
	image *image
}

func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("write", f.path); err != nil {
		return 0, err
	}
	f.image.pending = append(f.image.pending, write{offset: offset, data: append([]byte(nil), b...)})
	return f.File.WriteAt(b, offset)
}

func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("truncate", f.path); err != nil {
		return err
	}
	f.image.pending = append(f.image.pending, write{offset: size, truncate: true})
	return f.File.Truncate(size)
}

func (f *file) Sync(flags vfs.SyncFlag) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("sync", f.path); err != nil {
		return err
	}
	for _, w := range f.image.pending {
		f.image.durable.apply(w)
	}
	f.image.pending, f.image.exists = nil, true
	return f.File.Sync(flags)
}

func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	dead := f.disk.dead
	f.disk.mu.Unlock()
	if dead {
		return 0, sqlite3.IOERR
	}
	return f.File.ReadAt(b, offset)
}

// What follows keeps the optional abilities of the file below: without its shared memory there would be no write-ahead log.

func (f *file) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }
func (f *file) LockState() vfs.LockLevel       { return vfsutil.WrapLockState(f.File) }
func (f *file) PersistWAL() bool               { return vfsutil.WrapPersistWAL(f.File) }
func (f *file) SetPersistWAL(keep bool)        { vfsutil.WrapSetPersistWAL(f.File, keep) }
func (f *file) HasMoved() (bool, error)        { return vfsutil.WrapHasMoved(f.File) }
func (f *file) Unwrap() vfs.File               { return f.File }
