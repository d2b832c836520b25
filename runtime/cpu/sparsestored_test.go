package cpu

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// A device goes by the table that is stored for its machine. What is no table, or one of other tiles, it leaves alone.
func TestStoredTable(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	fresh := func() *Device {
		d := New(1)
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	built := *fresh().builtIn()
	if err := fresh().Storable(); err != nil {
		t.Error(err)
	}
	mine := built
	mine.Call, mine.Step = 77, append([]float64{}, built.Step...)
	file, err := fresh().Store(&mine)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := fresh().tiles(); !reflect.DeepEqual(got, &mine) {
		t.Errorf("the table is %v, not the one that is stored, %v", got, mine)
	}
	if from, err := fresh().StoredTiles(); from != file || err != nil {
		t.Errorf("the table is said to be of %q: %v", from, err)
	}
	changed := func(change func(t *TileTable)) []byte {
		other := mine
		other.Step, other.Rows = append([]float64{}, mine.Step...), append([]int{}, mine.Rows...)
		change(&other)
		b, err := json.Marshal(&other)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"empty":           {},
		"cut":             good[:len(good)/2],
		"no table":        []byte("[1, 2]"),
		"null":            []byte("null"),
		"no entries":      []byte("{}"),
		"other rows":      changed(func(t *TileTable) { t.Rows[0] = 3 }),
		"too few entries": changed(func(t *TileTable) { t.Step = t.Step[1:] }),
		"zero":            changed(func(t *TileTable) { t.Wide = 0 }),
		"negative":        changed(func(t *TileTable) { t.Step[0] = -1 }),
		"too large":       changed(func(t *TileTable) { t.Far = 1e300 }),
		"no float64":      bytes.Replace(good, []byte("77"), []byte("1e999"), 1),
		"too long":        append(bytes.Clone(good), bytes.Repeat([]byte(" "), mostTable)...),
	} {
		if err := os.WriteFile(file, b, 0o666); err != nil {
			t.Fatal(err)
		}
		if got := fresh().tiles(); !reflect.DeepEqual(got, &built) {
			t.Errorf("%s: the table is %v, not the one that is built in", name, got)
		}
		if from, err := fresh().StoredTiles(); from != "" || err == nil {
			t.Errorf("%s: the table is said to be of %q, and nothing of what is there", name, from)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if from, err := fresh().StoredTiles(); from != "" || err != nil {
		t.Errorf("the table is said to be of %q: %v", from, err)
	}
	if err := os.MkdirAll(filepath.Join(file, "folder"), 0o777); err != nil {
		t.Fatal(err)
	}
	if got := fresh().tiles(); !reflect.DeepEqual(got, &built) {
		t.Errorf("a folder: the table is %v, not the one that is built in", got)
	}
	if err := fresh().Storable(); err == nil {
		t.Error("a table could be stored where there is a folder")
	}
	if file, err := fresh().Store(&mine); err == nil {
		t.Errorf("a table was stored where there is a folder: %s", file)
	}
}
