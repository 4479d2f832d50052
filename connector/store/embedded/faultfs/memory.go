package faultfs

import (
	"io"
	"os"
	"sync"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"
)

// layer is what lies below a disk.
type layer interface {
	vfs.VFS
	read(path string) (blob, error)
	write(path string, content blob) error
	remove(path string)
}

// system is the operating system's.
type system struct{ vfs.VFSFilename }

func (system) read(path string) (blob, error) {
	b, err := os.ReadFile(path)
	return share(b), err
}

func (system) write(path string, b blob) error { return os.WriteFile(path, b.bytes(), 0o600) }
func (system) remove(path string)              { _ = os.Remove(path) }

// Memory holds database files without a disk below. Only what the connections of one database share lies in a directory, which must exist.
type Memory struct {
	mu    sync.Mutex
	files map[string]*content
}

// content is a file, and who has locked it.
type content struct {
	data   blob
	shared int
	mark   *memoryFile // who has, or is about to have, it alone
}

// NewMemory returns a Memory with the files, by their full paths. It never writes to the bytes.
func NewMemory(files map[string][]byte) *Memory {
	m := &Memory{files: map[string]*content{}}
	for path, data := range files {
		m.files[path] = &content{data: share(data)}
	}
	return m
}

// Register is Register of a disk whose database files are in memory; those that a disk before it left are there.
func (m *Memory) Register(name string, mode Mode, at int) *Disk { return register(name, mode, at, m) }

func (m *Memory) read(path string) (blob, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.files[path]; c != nil {
		return c.data.copy(), nil
	}
	return blob{}, os.ErrNotExist
}

func (m *Memory) write(path string, data blob) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path] = &content{data: data}
	return nil
}

func (m *Memory) remove(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, path)
}

// Open implements vfs.VFS.
func (m *Memory) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.files[name]
	if c == nil {
		if flags&vfs.OPEN_CREATE == 0 {
			return nil, 0, sqlite3.CANTOPEN
		}
		c = &content{}
		m.files[name] = c
	}
	f := &memoryFile{memory: m, content: c}
	if flags&vfs.OPEN_MAIN_DB != 0 {
		f.index = vfs.NewSharedMemory(name+"-shm", flags)
	}
	return f, flags, nil
}

// Delete implements vfs.VFS.
func (m *Memory) Delete(name string, _ bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] == nil {
		return sqlite3.IOERR_DELETE_NOENT
	}
	delete(m.files, name)
	return nil
}

// Access implements vfs.VFS.
func (m *Memory) Access(name string, _ vfs.AccessFlag) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[name] != nil, nil
}

// FullPathname implements vfs.VFS.
func (m *Memory) FullPathname(name string) (string, error) { return name, nil }

// memoryFile is one that a connection has open.
type memoryFile struct {
	memory  *Memory
	content *content
	index   vfs.SharedMemory // of the write-ahead log
	lock    vfs.LockLevel
	keep    bool
}

func (f *memoryFile) Close() error {
	if f.index != nil {
		_ = f.index.Close()
	}
	return f.Unlock(vfs.LOCK_NONE)
}

func (f *memoryFile) ReadAt(b []byte, offset int64) (int, error) {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	n := f.content.data.read(b, offset)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(b []byte, offset int64) (int, error) {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	f.content.data.apply(write{offset: offset, data: b})
	return len(b), nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	f.content.data.apply(write{offset: size, truncate: true})
	return nil
}

func (f *memoryFile) Size() (int64, error) {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	return f.content.data.size, nil
}

func (f *memoryFile) Sync(vfs.SyncFlag) error { return nil }

func (f *memoryFile) Lock(want vfs.LockLevel) error {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	c := f.content
	switch {
	case f.lock >= want:
		return nil
	case c.mark != nil && c.mark != f && (want > vfs.LOCK_SHARED || c.mark.lock > vfs.LOCK_RESERVED):
		return sqlite3.BUSY
	}
	switch want {
	case vfs.LOCK_SHARED:
		c.shared++
	case vfs.LOCK_EXCLUSIVE:
		if c.mark, f.lock = f, max(f.lock, vfs.LOCK_PENDING); c.shared > 1 {
			return sqlite3.BUSY
		}
	default:
		c.mark = f
	}
	f.lock = want
	return nil
}

func (f *memoryFile) Unlock(to vfs.LockLevel) error {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	if f.content.mark == f {
		f.content.mark = nil
	}
	if f.lock >= vfs.LOCK_SHARED && to == vfs.LOCK_NONE {
		f.content.shared--
	}
	f.lock = min(f.lock, to)
	return nil
}

func (f *memoryFile) CheckReservedLock() (bool, error) {
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	return f.content.mark != nil, nil
}

func (f *memoryFile) SectorSize() int { return 0 } // whatever SQLite likes best

// DeviceCharacteristics are those that the operating system's layer has on an ordinary disk.
func (f *memoryFile) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return vfs.IOCAP_SUBPAGE_READ | vfs.IOCAP_POWERSAFE_OVERWRITE
}

func (f *memoryFile) SharedMemory() vfs.SharedMemory { return f.index }
func (f *memoryFile) LockState() vfs.LockLevel       { return f.lock }
func (f *memoryFile) PersistWAL() bool               { return f.keep }
func (f *memoryFile) SetPersistWAL(keep bool)        { f.keep = keep }
