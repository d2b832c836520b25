package cuda

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cuda/emu"
)

// What programs give stays on the device: inputs go there, results come back, and what decides a branch or how often a loop
// runs; so does what an operator without a program reads. A place in the host's memory is another value's afterwards.
func TestStaysOnTheDevice(t *testing.T) {
	const programs = `
  program @double[n](x: [n] f32) -> (y: [n] f32) {
    y[i < n] = (x[i] + x[i])
  }
  program @large[n](x: [n] f32) -> (y: [] bool) {
    t[] f32 = max(i < n) x[i]
    y[] = (t[] > f32 40)
  }
}`
	const n = 1000
	for name, c := range map[string]struct {
		src      string
		times    float32
		up, down int64
	}{
		"chain": {`  func @main(%x: [n] f32) -> ([n] f32) {
    %a: [n] f32 = call @double[n](%x)
    %b: [n] f32 = call @double[n](%a)
    %c: [n] f32 = call @double[n](%b)
    return %c
  }`, 8, 4 * n, 4 * n},
		"view": {`  func @main(%x: [n] f32) -> ([1, n] f32) {
    %a: [n] f32 = call @double[n](%x)
    %b: [1, n] f32 = vm.view(%a) {type = type [1, n] f32}
    %c: [n] f32 = vm.view(%b) {type = type [n] f32}
    %d: [n] f32 = call @double[n](%c)
    %e: [1, n] f32 = vm.view(%d) {type = type [1, n] f32}
    return %e
  }`, 4, 4 * n, 4 * n},
		"branch": {`  func @main(%x: [n] f32) -> ([n] f32) {
    %a: [n] f32 = call @double[n](%x)
    %c: [] bool = call @large[n](%a)
    %y: [n] f32 = onnx.If(%c) { ()
      %b: [n] f32 = call @double[n](%a)
      yield %b
    } { ()
      yield %a
    }
    %z: [n] f32 = call @double[n](%y)
    return %z
  }`, 8, 4 * n, 4*n + 1},
		"loop": {`  const @three: [] i64 = {3}
  func @main(%x: [n] f32) -> ([n] f32, [3, n] f32) {
    %y: [n] f32, %all: [3, n] f32 = onnx.Loop(@three, _, %x) { (%i: [] i64, %on: [] bool, %v: [n] f32)
      %d: [n] f32 = call @double[n](%v)
      yield %on, %d, %d
    }
    %z: [n] f32 = call @double[n](%y)
    return %z, %all
  }`, 16, 4 * n, 4*n + 3*4*n},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := text.Parse(name, []byte("module {\n"+c.src+programs+"\n"), nil)
			if err != nil {
				t.Fatal(err)
			}
			d := device(t, emu.Options{Races: true})
			mg := pass.Manager{Target: d.Target()}
			if err := mg.Run(context.Background(), m, []pass.Step{{Pass: builtin.Dispatch}}); err != nil {
				t.Fatal(err)
			}
			x, err := runtime.Load(m, d, runtime.Options{})
			if err != nil {
				t.Fatal(err)
			}
			in := tensor.New(tensor.F32, n)
			for i := range in.Len() {
				in.SetFloat(i, float64(i%100)/4-3)
			}
			for run := range int64(3) {
				out, err := x.Run(context.Background(), []tensor.Value{in})
				if err != nil {
					t.Fatal(err)
				}
				y := out[0].(*tensor.Tensor)
				for i := range in.Len() {
					if want := in.Float(i) * float64(c.times); math.Abs(y.Float(i)-want) > 0 {
						t.Fatalf("element %d is %g, not %g", i, y.Float(i), want)
					}
				}
				for k := 1; k < len(out); k++ { // slices of a loop
					all := out[k].(*tensor.Tensor)
					for i := range all.Len() {
						if want := in.Float(i%n) * float64(int(2)<<(i/n)); all.Float(i) != want {
							t.Fatalf("element %d of all is %g, not %g", i, all.Float(i), want)
						}
					}
				}
				if w := d.Division(); w.Up != c.up*(run+1) || w.Down != c.down*(run+1) || w.Host != 0 {
					t.Errorf("%d bytes went to the device and %d came back in %d runs, not %d and %d; %d stages on the host", w.Up, w.Down, run+1, c.up, c.down, w.Host)
				}
			}
		})
	}
}

// Where an index is out of its dim the host computes the stages again. What they read is there, although results lie
// in the same place of the host's memory.
func TestFailsWhereResultsTakeThePlaceOfOperands(t *testing.T) {
	m, err := text.Parse("takes", []byte(`module {
  func @main(%x: [n] i64, %t: [m] f32) -> ([n] f32) {
    %i: [n] i64 = call @next[n](%x)
    %y: [n] f32 = call @pick[m, n](%i, %t)
    %z: [n] f32 = call @double[n](%y)
    return %z
  }
  program @next[n](X: [n] i64) -> (I: [n] i64) {
    I[i < n] = (X[i] + 1)
  }
  program @pick[m, n](I: [n] i64, T: [m] f32) -> (Y: [n] f32) {
    a[] f32 = sum(i < n) T[I[i]]
    Y[i < n] = (a[] * a[])
  }
  program @double[n](Y: [n] f32) -> (Z: [n] f32) {
    Z[i < n] = (Y[i] + Y[i])
  }
}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := device(t, emu.Options{Races: true})
	mg := pass.Manager{Target: d.Target()}
	if err := mg.Run(context.Background(), m, []pass.Step{{Pass: builtin.Dispatch}, {Pass: builtin.PlanMemory}}); err != nil {
		t.Fatal(err)
	}
	x, err := runtime.Load(m, d, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	at, from := tensor.New(tensor.I64, 8), tensor.New(tensor.F32, 5)
	for i := range from.Len() {
		from.SetFloat(i, float64(i))
	}
	for _, wrong := range []bool{false, true, false} {
		for i := range at.Len() {
			at.SetInt(i, i%3)
		}
		if wrong {
			at.SetInt(4, 77)
		}
		out, err := x.Run(context.Background(), []tensor.Value{at, from})
		switch {
		case wrong && (err == nil || !strings.Contains(err.Error(), "78")):
			t.Errorf("an index of 78 in 5: %v, %v", out, err)
		case !wrong && err != nil:
			t.Error(err)
		case !wrong && out[0].(*tensor.Tensor).Float(7) != 2*15*15:
			t.Errorf("%v", out)
		}
	}
	if w := d.Division(); len(w.Left) == 0 || w.Left[0].Why != "an index is out of its dim" {
		t.Errorf("no kernel has failed: %v", w.Left)
	}
}
