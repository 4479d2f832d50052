package durable_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-connector/sluice/policy/decisionlog/durable"
)

func TestOfManyThatCreateAFileOneDoesAndItsFileStands(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	var made sync.Map
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			content := strings.Repeat(fmt.Sprint(i%10), 5000)
			switch err := durable.Create(durable.OS{}, path, []byte(content)); {
			case err == nil:
				made.Store("it", content)
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	all.Wait()
	want, _ := made.Load("it")
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("the file is not that of the one who was told so: %v", err)
	}
	alone(t, path)
}

func TestAFileIsReplacedWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mark.json")
	for _, content := range []string{"a long first content", "second"} {
		if err := durable.Write(durable.OS{}, path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("got %q, %v; want %q", got, err, content)
		}
	}
	alone(t, path)
}

// alone wants the file for its owner only, and nothing beside it.
func alone(t *testing.T, path string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the file stand %v, %v", left, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestADirectoryThatIsOpenToOthersIsRefused(t *testing.T) {
	t.Parallel()
	for mode, refused := range map[os.FileMode]bool{0o700: false, 0o500: false, 0o701: true, 0o710: true, 0o750: true, 0o755: true} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		err := durable.Private(durable.OS{}, dir)
		if refused != (err != nil) || refused && !strings.Contains(err.Error(), "chmod 700 "+dir) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}
