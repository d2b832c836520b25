package cuda

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cuda/emu"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// heap is memory of tests.
type heap struct{}

func (heap) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	return tensor.Make(d, shape)
}
func (heap) Free(*tensor.Tensor)              {}
func (heap) Workspace(int) ([]byte, error)    { return nil, nil }
func (heap) Keep([]int, string) *runtime.Kept { return nil }

// Sums that are said to be of many zeros go over lists of what there is: results are those of the interpreter, whatever the zeros
// are multiplied by, and zeros cost less than numbers.
func TestSparse(t *testing.T) {
	for _, name := range []string{"sparse", "sparse16"} {
		t.Run(name, func(t *testing.T) {
			p := kerneltest.Program(t, kerneltest.Examples[name])
			r := rand.New(rand.NewPCG(5, 6))
			var took [2]int64
			for round, zeros := range []float64{0, 0.95, 1, 0.5, 0.8, 0.9} {
				bind := []int64{70, 90, 100} // n, m, k, in the order of p.Syms
				if round > 2 {
					bind = []int64{1 + r.Int64N(80), 1 + r.Int64N(80), 1 + r.Int64N(80)}
				}
				value := map[string]int64{}
				for i, s := range p.Syms {
					value[s] = bind[i]
				}
				n, m, k := value["n"], value["m"], value["k"]
				x, w := tensor.New(p.Params[0].DType, n, k), tensor.New(p.Params[1].DType, k, m)
				if name == "sparse16" {
					w = tensor.New(p.Params[1].DType, m, k)
				}
				for _, v := range []*tensor.Tensor{x, w} {
					for i := range v.Len() {
						v.SetFloat(i, float64(1+r.IntN(3))*float64(1-2*r.IntN(2)))
					}
				}
				rows, ks := make([]bool, n), make([]bool, k)
				for _, list := range [][]bool{rows, ks} {
					for i := range list {
						list[i] = r.Float64() < zeros
					}
				}
				for i := range n {
					for l := range k {
						if rows[i] || ks[l] {
							x.SetFloat(i*k+l, 0)
						}
					}
				}
				if name == "sparse" && round > 2 { // what is no number in one factor, zeros in the other: of w, where it is not proved finite
					for l := range k {
						if r.IntN(12) == 0 {
							w.SetFloat(l*m+r.Int64N(m), []float64{math.NaN(), math.Inf(1), math.Inf(-1)}[r.IntN(3)])
						}
					}
				}
				args := []*tensor.Tensor{x, w}
				c, err := interp.Compile(p, bind)
				if err != nil {
					t.Fatal(err)
				}
				want, got := make([]*tensor.Tensor, len(p.Results)), make([]*tensor.Tensor, len(p.Results))
				if err := c.Run(context.Background(), args, want, heap{}, func(x *interp.Execution, i int) error { return x.Stage(i, 0, 1) }); err != nil {
					t.Fatal(err)
				}
				d := device(t, emu.Options{Races: true})
				if err := d.Run(context.Background(), "", p, bind, args, got, heap{}); err != nil {
					t.Fatal(err)
				}
				if w := d.Division(); w.Host > 0 {
					t.Fatalf("%d stages on the host: %v", w.Host, w.Left)
				}
				for j := range want {
					if name == "sparse" && round > 2 && j == 1 { // it is said that all is finite
						continue
					}
					for i := range want[j].Len() {
						if a, b := got[j].Float(i), want[j].Float(i); a != b && (a == a || b == b) {
							t.Fatalf("%v, %g of zeros: element %d of result %d is %g, not %g", value, zeros, i, j, a, b)
						}
					}
				}
				if _, kernels := d.ctx.(*emu.Context).Counters(); round < len(took) {
					took[round] = int64(kernels["k_"+name+"_y"].Instructions)
				}
			}
			if took[1] == 0 || took[1] > took[0]/2 {
				t.Errorf("the product takes %d instructions, and %d where it has one in twenty of the rows and of the terms", took[0], took[1])
			}
		})
	}
}
