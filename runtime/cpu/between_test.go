package cpu

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/guards"
	"github.com/pitopt/pitopt/runtime/runtimetest"
)

// between puts guards around all that a device of one thread gets, machine code's own scratch included.
func between(t testing.TB, d *Device, side guards.Side) *guards.Device {
	was := scratch
	t.Cleanup(func() { scratch = was })
	scratch.make = func(n int64) []byte { return guards.Bytes(n, side) }
	scratch.round = func(n int64) int64 { return n }
	return guards.New(d, side)
}

// loadBetween is load with guards.
func loadBetween(t testing.TB, m *ir.Module, d *Device, g *guards.Device) *runtime.Executable {
	t.Helper()
	m = m.Clone()
	mg := pass.Manager{Target: d.Target()}
	if err := mg.Run(context.Background(), m, []pass.Step{{Pass: builtin.Dispatch}}); err != nil {
		t.Fatal(err)
	}
	x, err := runtime.Load(m, g, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// The suite between guards: nothing reads or writes an element too many.
func TestSuiteBetweenGuards(t *testing.T) {
	if !guards.Works {
		t.Skip("there are no guards on this system")
	}
	for _, tier := range tiers(t) {
		for _, side := range []guards.Side{guards.Behind, guards.Before} {
			if side == guards.Before && testing.Short() {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", tier.name, side), func(t *testing.T) {
				runtimetest.Run(t, func(t testing.TB, m *ir.Module) runtimetest.Runner {
					d := tier.inParts(1)
					return loadBetween(t, m, d, between(t, d, side)).Run
				})
			})
		}
	}
}

// A softmax, whose rows are in scratch, of a product, whose factors are packed.
const guardedModule = `module {
const @w: [24, 40] f32 = {WEIGHTS}
program @p[n, h](x: [n, 24] f32, w: [24, 40] f32, y: [h, 40, 19] f32) -> (s: [n, 40] f32, q: [h, n, 19] f32) {
  c[i < n, j < 40] f32 = sum(k < 24) (x[i, k] * w[k, j])
  m[i < n] f32 = max(j < 40) c[i, j]
  e[i < n, j < 40] f32 = exp((c[i, j] - m[i]))
  t[i < n] f32 = sum(j < 40) e[i, j]
  s[i < n, j < 40] = (e[i, j] / t[i])
  q[g < h, i < n, l < 19] = sum(j < 40) (s[i, j] * y[g, j, l])
}
func @main(%x: [n, 24] f32, %y: [h, 40, 19] f32) -> ("s": [n, 40] f32, "q": [h, n, 19] f32) {
  %s: [n, 40] f32, %q: [h, n, 19] f32 = call @p[n, h](%x, @w, %y)
  return %s, %q
}
}`

// Each kind of memory has its guard: where it begins an element early, the run fails, on every tier, and names the
// program.
func TestGuards(t *testing.T) {
	if !guards.Works {
		t.Skip("there are no guards on this system")
	}
	m, err := text.Parse("test", []byte(strings.ReplaceAll(guardedModule, "WEIGHTS", strings.Repeat("1, ", 24*40-1)+"1")), nil)
	if err != nil {
		t.Fatal(err)
	}
	args := []tensor.Value{whole(17, 24, 1), func() tensor.Value { x, _ := random(3*40*19).View(3, 40, 19); return x }()}
	for _, tier := range tiers(t) {
		for side, at := range []string{"behind", "before"} {
			t.Run(tier.name+"/"+at, func(t *testing.T) {
				run := func(short string) (seen []string, err error) {
					d := tier.inParts(1)
					defer d.Close()
					g := between(t, d, guards.Side(side))
					g.Short = func(name string) bool {
						seen = append(seen, name)
						return name == short
					}
					own := scratch.make
					scratch.make = func(n int64) []byte {
						seen = append(seen, "scratch")
						if short == "scratch" {
							return guards.Short(n, 4, guards.Side(side))
						}
						return own(n)
					}
					_, err = loadBetween(t, m, d, g).Run(context.Background(), args)
					return seen, err
				}
				names, err := run("")
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(names)
				names = slices.Compact(names)
				for _, must := range []string{"x", "w", "y", "s", "q", "workspace"} {
					if !slices.Contains(names, must) {
						t.Errorf("%s has no guard: %v", must, names)
					}
				}
				if tier.features != 0 && (!slices.Contains(names, "kept") || !slices.Contains(names, "scratch")) {
					t.Errorf("what machine code has beside tensors has no guard: %v", names)
				}
				for _, name := range names {
					if _, err := run(name); err == nil || !strings.Contains(err.Error(), "invalid memory address") {
						t.Errorf("%s is an element short, and the run ends with %v", name, err)
					}
				}
			})
		}
	}
}
