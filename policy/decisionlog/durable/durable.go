// Package durable writes the few files that live beside the database, keys and checkpoint marks, so that each is there whole or not at all after
// a loss of power: written beside its place, synced, moved into it, and the directory synced. The disk is an [FS], so that a test can own it.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is what durable writing asks of a file system. What Sync and SyncDir returned without error survives a loss of power.
type FS interface {
	// ReadFile returns an error that is fs.ErrNotExist when there is no such file.
	ReadFile(path string) ([]byte, error)
	// Mode says who may do what with a file or a directory.
	Mode(path string) (fs.FileMode, error)
	// Temp makes a file with a new name in the directory, readable by its owner only.
	Temp(dir string) (File, error)
	// Rename moves a file; what was at its new place is replaced.
	Rename(from, to string) error
	// Link gives a file a second name; an error that is fs.ErrExist when there is such a file.
	Link(from, to string) error
	Remove(path string) error
	SyncDir(dir string) error
}

// File is one that is being written.
type File interface {
	io.WriteCloser
	Name() string
	Sync() error
}

// Write puts a file in its place, for its owner alone, whether there was one or not. After an error either is there, whole.
func Write(disk FS, path string, content []byte) error {
	return place(disk, path, content, disk.Rename)
}

// Create is Write of a file that must not be there: an error that is fs.ErrExist when it is, also when two create it at once.
func Create(disk FS, path string, content []byte) error {
	return place(disk, path, content, func(from, to string) error {
		return errors.Join(disk.Link(from, to), disk.Remove(from))
	})
}

func place(disk FS, path string, content []byte, move func(from, to string) error) error {
	dir := filepath.Dir(path)
	file, err := disk.Temp(dir)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = disk.Remove(file.Name())
		return err
	}
	if err := move(file.Name(), path); err != nil {
		_ = disk.Remove(file.Name())
		return err
	}
	return disk.SyncDir(dir)
}

// Private makes a directory for its owner alone. One that others can enter is refused.
func Private(disk FS, path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if err := disk.SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	mode, err := disk.Mode(path)
	if err != nil {
		return err
	}
	if mode&0o077 != 0 {
		return fmt.Errorf("%s is open to others (mode %04o): chmod 700 %s", path, mode, path)
	}
	return nil
}

// OS is the operating system's file system.
type OS struct{}

// ReadFile implements FS.
func (OS) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }

// Mode implements FS.
func (OS) Mode(path string) (fs.FileMode, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Mode().Perm(), nil
}

// Temp implements FS. What a crash leaves of it is never read.
func (OS) Temp(dir string) (File, error) { return os.CreateTemp(dir, ".new-") }

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Link implements FS.
func (OS) Link(from, to string) error { return os.Link(from, to) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var _ FS = OS{}
