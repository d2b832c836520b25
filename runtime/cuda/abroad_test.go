package cuda

import (
	"context"
	"math"
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
