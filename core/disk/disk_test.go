package disk_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/disk"
)

func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What was there stays until Commit, and stays for good without it.
func TestWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := disk.Write(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := disk.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("before Commit there is %q", got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "old" || names(t, dir) != "a" {
		t.Errorf("after Close there is %q among %q", got, names(t, dir))
	}
	if err := disk.Write(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "new" || names(t, dir) != "a" {
		t.Errorf("after Write there is %q among %q", got, names(t, dir))
	}
}

func TestPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has other permissions")
	}
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := disk.Write(path, nil); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("target", link); err != nil {
		t.Skipf("this system makes no links: %v", err)
	}
	if err := disk.Write(link, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, target); got != "x" {
		t.Errorf("the target has %q", got)
	}
}

// The errors name the folder, and no temporary file is left.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	for path, want := range map[string]string{
		filepath.Join(missing, "a"): missing + ": ",
		dir:                         dir + " is a folder",
	} {
		err := disk.Write(path, nil)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), ".a-") {
			t.Errorf("%s: got %v, want %s...", path, err, want)
		}
	}
	if got := names(t, dir); got != "" {
		t.Errorf("left behind: %q", got)
	}
}
