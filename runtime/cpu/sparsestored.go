package cpu

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/disk"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// StoredTiles is the file whose table runs go by, as Store wrote it; empty: by one that is built in. An error tells of a file in
// that place that is left alone.
func (d *Device) StoredTiles() (file string, err error) {
	t, file, err := d.storedTiles()
	if t == nil || err != nil {
		return "", err
	}
	return file, nil
}

// storedTiles is what Store has written; nil: nothing.
func (d *Device) storedTiles() (t *TileTable, file string, err error) {
	if file, err = tileFile(d.machine.features); err != nil {
		return nil, "", nil // no folder that anything could be stored in
	}
	st, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", nil
	case err == nil && (!st.Mode().IsRegular() || st.Size() > mostTable):
		err = errors.New("it is nothing that was stored")
	case err == nil:
		var b []byte
		if b, err = os.ReadFile(file); err == nil {
			t = &TileTable{}
			if json.Unmarshal(b, t) != nil || !t.fits(d.builtIn()) {
				err = errors.New("it has no table of this machine's tiles")
			}
		}
	}
	if err != nil {
		return nil, "", diag.New(diag.Run, "%s is left alone: %v", file, err).Hint("`pitopt tune` measures and stores a table")
	}
	return t, file, nil
}

// mostTable is the length of a file of a table at most, in bytes: it has some dozens of numbers.
const mostTable = 1 << 16

// tileFile is where the table of this machine is stored: in the user's cache folder, a file for each processor and
// level of machine code.
func tileFile(f x86.Features) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	level := "v3"
	if f&x86.V4 != 0 {
		level = "v4"
	}
	h := fnv.New64a()
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if strings.HasPrefix(line, "model name") || strings.HasPrefix(line, "cpu family") || strings.HasPrefix(line, "model\t") {
			_, _ = h.Write([]byte(line))
		}
		if strings.TrimSpace(line) == "" { // the first processor is like the others
			break
		}
	}
	return filepath.Join(dir, "pitopt", fmt.Sprintf("tiles-%s-%x.json", level, h.Sum64())), nil
}

// Storable says why a table can not be stored, before one is measured. It makes the folder that one goes to.
func (d *Device) Storable() error {
	file, err := tileFile(d.machine.features)
	if err != nil {
		return notStored(err)
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return notStored(err)
	}
	if st, err := os.Stat(file); err == nil && !st.Mode().IsRegular() {
		return notStored(fmt.Errorf("%s is no file", file))
	}
	f, err := os.CreateTemp(dir, "tiles-*")
	if err != nil {
		return notStored(err)
	}
	err = f.Close()
	if gone := os.Remove(f.Name()); err == nil {
		err = gone
	}
	if err != nil {
		return notStored(err)
	}
	return nil
}

// Store writes a table where devices on this machine find it, and says where that is.
func (d *Device) Store(t *TileTable) (string, error) {
	if err := d.Storable(); err != nil {
		return "", err
	}
	file, err := tileFile(d.machine.features)
	if err != nil {
		return "", notStored(err)
	}
	b, err := json.MarshalIndent(t, "", "  ")
	if err == nil {
		err = disk.Write(file, append(b, '\n'))
	}
	if err != nil {
		return "", notStored(err)
	}
	return file, nil
}

func notStored(err error) error {
	return diag.New(diag.Run, "the table can not be stored: %v", err).Hint("$XDG_CACHE_HOME names another cache folder")
}
