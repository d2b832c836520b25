package cpu

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// runRows runs a program of loops, and one of a product.
func runRows(t *testing.T, d *Device) {
	t.Helper()
	p := rowsOf(t)
	if err := d.Run(context.Background(), "", p, bindOf(p, 40, 33), []*tensor.Tensor{whole(40, 33, 1)}, []*tensor.Tensor{tensor.New(tensor.F32, 40, 33)}, &heap{}); err != nil {
		t.Fatal(err)
	}
	m := matmul(8, 16, 64)
	if err := d.Run(context.Background(), kernelProduct, m, nil, []*tensor.Tensor{random(8, 16), random(16, 64)}, []*tensor.Tensor{tensor.New(tensor.F32, 8, 64)}, &heap{}); err != nil {
		t.Fatal(err)
	}
}

// Each call of machine code is told, with what it is for.
func TestWatch(t *testing.T) {
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			d := tier.device(1)
			defer d.Close()
			calls := map[string]string{}
			d.Watch(func(u Use) {
				var stages []string
				for _, s := range u.Stages {
					stages = append(stages, s.Out().Name)
				}
				calls[u.Code.Name] = fmt.Sprint(stages)
			})
			runRows(t, d)
			if tier.features == 0 {
				if len(calls) > 0 {
					t.Errorf("portable Go calls %v", calls)
				}
				return
			}
			tile := false
			for name, stages := range calls {
				tile = tile || strings.HasPrefix(name, "tile_") && stages == "[y]"
			}
			if calls["rows.y"] != "[c t y]" || !tile {
				t.Errorf("calls are %v", calls)
			}
		})
	}
}

// The operations of a kernel stand in its listing, each before its instructions.
func TestAnnotatedCode(t *testing.T) {
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue
		}
		t.Run(tier.name, func(t *testing.T) {
			d := tier.device(1)
			defer d.Close()
			var code *x86.Code
			d.Watch(func(u Use) {
				if u.Code.Name == "rows.y" {
					code = u.Code
				}
			})
			runRows(t, d)
			if code == nil {
				t.Fatal("the loops are not called")
			}
			if !regexp.MustCompile(`(?s)# kernel rows\.y, .*# %\d+ = f32 load  .*vmovups .*# %\d+ = f32 mul .*vmulps [^\n]* # [0-9a-f]{4} [0-9a-f]+`).MatchString(code.Listing()) {
				t.Error(code.Listing())
			}
		})
	}
}

// Linux's perf finds names for all code that a device has, and for nothing else.
func TestPerfMap(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("perf is Linux's")
	}
	perfMap = true
	defer func() { perfMap = false }()
	f, err := x86.Usable()
	if err != nil || f == 0 {
		t.Skip("no machine code runs here:", err)
	}
	d := newDevice(1, f)
	defer d.Close()
	runRows(t, d)
	file := fmt.Sprintf("/tmp/perf-%d.map", os.Getpid())
	defer os.Remove(file)
	list, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(list)) {
		var at, size uintptr
		var name string
		if n, err := fmt.Sscanf(line, "%x %x %s\n", &at, &size, &name); n != 3 || err != nil || fmt.Sprintf("%x %x %s\n", at, size, name) != line {
			t.Errorf("%q is no line of a map: %v", line, err)
			continue
		}
		names = append(names, name)
		inside := false
		for m := range strings.Lines(string(maps)) {
			var from, to uintptr
			var may string
			if _, err := fmt.Sscanf(m, "%x-%x %s", &from, &to, &may); err == nil && may == "r-xp" {
				inside = inside || from <= at && at+size <= to
			}
		}
		if !inside {
			t.Errorf("%s lies at %x to %x, and no code is there", name, at, at+size)
		}
	}
	if !slices.Contains(names, "rows.y") || !slices.ContainsFunc(names, func(s string) bool { return strings.HasPrefix(s, "tile_") }) {
		t.Errorf("names are %v", names)
	}
}
