package x86

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// permissions is what /proc says of the memory at an address.
func permissions(t *testing.T, addr uintptr) string {
	t.Helper()
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Skip("the system does not tell the permissions of memory:", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var from, to uintptr
		var perm string
		if _, err := fmt.Sscanf(s.Text(), "%x-%x %s", &from, &to, &perm); err == nil && from <= addr && addr < to {
			return perm
		}
	}
	return ""
}

// TestSealed: memory can be written before it can be executed, and never both; it is gone
// after Close.
func TestSealed(t *testing.T) {
	runnable(t, 0)
	if runtime.GOOS != "linux" {
		t.Skip("permissions of memory are read from /proc")
	}
	was := memory
	defer func() { memory = was }()
	memory.seal = func(b []byte) error {
		if got := permissions(t, uintptr(unsafe.Pointer(&b[0]))); got != "rw-p" {
			t.Errorf("before it is sealed, memory is %s", got)
		}
		return was.seal(b)
	}
	c, err := Assemble(spin(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var a Arena
	fs, err := a.Load(c, c)
	if err != nil {
		t.Fatal(err)
	}
	if got := permissions(t, fs[1].Addr()); got != "r-xp" {
		t.Errorf("sealed memory is %s", got)
	}
	if fs[0].Addr()%lineBytes != 0 || fs[1].Addr()%lineBytes != 0 || a.Size() == 0 {
		t.Errorf("functions lie at %#x and %#x, in %d bytes", fs[0].Addr(), fs[1].Addr(), a.Size())
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got := permissions(t, fs[0].Addr()); got != "" || a.Size() != 0 {
		t.Errorf("closed memory is %q, %d bytes", got, a.Size())
	}
}

// TestRefusedMemory: where the system does not give executable memory, that is an error, and nothing
// is left behind.
func TestRefusedMemory(t *testing.T) {
	runnable(t, 0)
	was := memory
	defer func() { memory = was }()
	denied := errors.New("permission denied")
	released := 0
	memory.seal = func([]byte) error { return denied }
	memory.release = func(b []byte) error { released++; return was.release(b) }
	c, err := Assemble(spin(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var a Arena
	if fs, err := a.Load(c); !errors.Is(err, denied) || fs != nil || released != 1 || a.Size() != 0 {
		t.Errorf("%v, %v, released %d times, %d bytes", fs, err, released, a.Size())
	}
	memory.reserve = func(int) ([]byte, error) { return nil, denied }
	if _, err := a.Load(c); !errors.Is(err, denied) {
		t.Error(err)
	}
}

// TestPerfMap: perf finds the names of functions.
func TestPerfMap(t *testing.T) {
	runnable(t, 0)
	if runtime.GOOS != "linux" {
		t.Skip("perf is Linux's")
	}
	name := fmt.Sprintf("/tmp/perf-%d.map", os.Getpid())
	defer os.Remove(name)
	c, err := Assemble(spin(), 0)
	if err != nil {
		t.Fatal(err)
	}
	a := Arena{PerfMap: true}
	defer a.Close()
	fs, err := a.Load(c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if want := fmt.Sprintf("%x %x spin\n", fs[0].Addr(), len(c.Bytes)); err != nil || !strings.HasSuffix(string(b), want) {
		t.Errorf("%q, %v; want %q", b, err, want)
	}
}

// TestUsable: PITOPT_CPU forbids tiers.
func TestUsable(t *testing.T) {
	all := Processor()
	if !callable {
		all = 0
	}
	for v, want := range map[string]Features{"": all, "avx2": all & (V3 | AVXVNNI), "portable": 0} {
		t.Setenv("PITOPT_CPU", v)
		if got, err := Usable(); err != nil || got != want {
			t.Errorf("PITOPT_CPU=%s: %q, %v; want %q", v, got, err, want)
		}
	}
	t.Setenv("PITOPT_CPU", "avx3")
	if _, err := Usable(); err == nil || !strings.Contains(err.Error(), "it can be avx2 or portable") {
		t.Error(err)
	}
}
