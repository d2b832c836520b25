package cuda

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
	"github.com/pitopt/pitopt/runtime/cuda/emu"
	"github.com/pitopt/pitopt/runtime/cuda/ptx"
	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
	"github.com/pitopt/pitopt/runtime/runtimetest"
)

// device is one on the emulator.
func device(t testing.TB, o emu.Options) *Device {
	t.Helper()
	d, err := Open("cuda-emu", func() (driver.Driver, error) { return emu.New(o), nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// emulated runs kernels in memory that is as long as they may use, not longer: the emulator finds an
// access beside it.
func emulated(d *Device) kerneltest.Machine {
	return kerneltest.Machine{Name: "emulated PTX", Options: options(), Run: func(t testing.TB, c *kernel.Cut, memory [][]byte) (failed bool) {
		t.Helper()
		o := ptx.Options{Shared: d.inShared(c.Bound)}
		code, err := ptx.Print(c.Kernel, o)
		if err != nil {
			t.Fatal(err)
		}
		if failed, err = d.runOn(c, code, o, memory); err != nil {
			t.Fatalf("%v\n%s", err, code.Text)
		}
		return failed
	}}
}

// runOn runs a kernel on memory of the host.
func (d *Device) runOn(c *kernel.Cut, code *ptx.Code, o ptx.Options, memory [][]byte) (failed bool, err error) {
	fn, err := d.function(c.Kernel, code, o)
	if err != nil {
		return false, err
	}
	r := &abroad{d: d, free: map[int64][]block{}}
	at := make([]uint64, len(memory))
	for i, m := range memory {
		if len(m) == 0 || c.Buffers[i].Scratch {
			continue
		}
		p, err := d.ctx.Alloc(int64(len(m)))
		if err != nil {
			return false, err
		}
		defer d.ctx.Free(p)
		if at[i] = uint64(p); !c.Buffers[i].Written { // what is written is not read before
			if err := d.ctx.HtoD(p, m, 0); err != nil {
				return false, err
			}
		}
	}
	if failed, err = d.launch(context.Background(), r, &group{cut: c, fn: fn}, at); err != nil {
		return false, err
	}
	for i, m := range memory {
		if at[i] != 0 && c.Buffers[i].Written {
			if err := d.ctx.DtoH(m, driver.Ptr(at[i]), 0); err != nil {
				return false, err
			}
		}
	}
	return failed, r.end()
}

// All kinds of ragged and empty sizes.
func TestExamples(t *testing.T) {
	examples := maps.Clone(kerneltest.Examples)
	examples["brain"] = strings.ReplaceAll(examples["scores16"], "f16", "bf16") // not elsewhere: a product of its largest numbers is none
	for name, src := range examples {
		t.Run(name, func(t *testing.T) {
			p := kerneltest.Program(t, src)
			r := rand.New(rand.NewPCG(1, 2))
			sizes := []int64{1, 2, 3, 7, 31, 32, 33, 64, 65, 100, 130, 0}
			if name == "positions" { // of nothing there is none
				sizes = sizes[:len(sizes)-1]
			}
			for range 6 {
				bind := make([]int64, len(p.Syms))
				for {
					points := int64(1)
					for i := range bind {
						bind[i] = sizes[r.IntN(len(sizes))]
						points *= bind[i]
					}
					if points < 1<<14 {
						break
					}
				}
				if groups, refused, _ := kerneltest.Check(t, p, bind, r, 0, false, []kerneltest.Machine{emulated(device(t, emu.Options{Races: true}))}); refused > 0 || groups == 0 {
					t.Fatalf("%v: %d kernels, %d stages refused", bind, groups, refused)
				}
			}
		})
	}
}

// Random programs: emulated PTX has the bits of the evaluator, and where all is exact both have those of the
// interpreter.
func TestRandom(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	groups, compared := 0, 0
	for seed := range rounds {
		n, m := kerneltest.CheckRandom(t, rand.New(rand.NewPCG(uint64(seed), 7)), []kerneltest.Machine{emulated(device(t, emu.Options{Races: true}))})
		groups, compared = groups+n, compared+m
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d programs, %d runs of kernels, %d results compared with the interpreter's", rounds, groups, compared)
	if groups < 2*rounds || compared < rounds/3 {
		t.Error("that is too few")
	}
}

func FuzzKernels(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		kerneltest.CheckRandom(t, rand.New(rand.NewPCG(seed, 8)), []kerneltest.Machine{emulated(device(t, emu.Options{Races: true}))})
	})
}

// slow is a context whose compiler does not come back before it may.
type slow struct {
	driver.Context
	asked, may chan bool
}

func (s *slow) Load(text string) (driver.Module, error) {
	s.asked <- true
	<-s.may
	return s.Context.Load(text)
}

// A run that has its kernels does not wait while those of another program are compiled.
func TestRunsWhileCompiling(t *testing.T) {
	d := device(t, emu.Options{})
	s := &slow{d.ctx, make(chan bool), make(chan bool)}
	d.ctx = s
	k := kernel.New(kerneltest.Program(t, kerneltest.Examples["gelu"]), options()).Groups[0].Kernel
	code, err := ptx.Print(k, ptx.Options{Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	compiled := make(chan error)
	go func() {
		_, err := d.function(k, code, ptx.Options{Shared: true})
		compiled <- err
	}()
	<-s.asked
	ran := make(chan error, 1)
	go func() {
		stream, err := d.stream()
		if err == nil {
			err = (&abroad{d: d, stream: stream, free: map[int64][]block{}}).end()
		}
		ran <- err
	}()
	select {
	case err := <-ran:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a run waits for the compiler")
	}
	close(s.may)
	if err := <-compiled; err != nil {
		t.Error(err)
	}
}

// Sizes share what is printed and compiled.
func TestSizesSharePTX(t *testing.T) {
	d := device(t, emu.Options{})
	p := kerneltest.Program(t, kerneltest.Examples["gelu"])
	var codes []*ptx.Code
	for n := range int64(3) {
		bind := make([]int64, len(p.Syms))
		for i := range bind {
			bind[i] = 10 + n
		}
		c, err := d.codes.get(d, p, bind)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range d.codes.schedules {
			code, err := s.print(s.Groups[0].Kernel, c.groups[0].fn.o)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, code, c.groups[0].fn.code)
		}
	}
	if codes = slices.Compact(codes); len(codes) != 1 || len(d.PTX()) != 1 {
		t.Errorf("%d texts were printed, and %d compiled", len(codes), len(d.PTX()))
	}
}

// The suite of every executor.
func TestSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("the suite takes minutes on the emulator")
	}
	d := device(t, emu.Options{})
	runtimetest.Run(t, func(t testing.TB, m *ir.Module) runtimetest.Runner {
		m = m.Clone()
		mg := pass.Manager{Target: d.Target()}
		if err := mg.Run(context.Background(), m, []pass.Step{{Pass: builtin.Dispatch}}); err != nil {
			t.Fatal(err)
		}
		x, err := runtime.Load(m, d, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return x.Run
	})
	w := d.Division()
	t.Logf("%d stages by kernels, %d on the host", w.Device, w.Host)
	if all := w.Device + w.Host; all > 1000 && w.Device < all/4 {
		t.Error("that is too few")
	}
}
