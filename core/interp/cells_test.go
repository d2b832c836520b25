package interp

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

// Every value of 2-byte floats is the same whether it is read by itself or with others.
func TestGatherFloats(t *testing.T) {
	for _, d := range []tensor.DType{tensor.F16, tensor.BF16} {
		all := tensor.New(d, 1<<16)
		for i := range tensor.Data[uint16](all) {
			tensor.Data[uint16](all)[i] = uint16(i)
		}
		c := cellsOf[float32](all)
		for _, step := range []int64{1, 3} {
			out := c.gather(0, step, make([]float32, (1<<16-1)/step+1))
			for i, v := range out {
				if want := c.get(int64(i) * step); math.Float32bits(v) != math.Float32bits(want) {
					t.Fatalf("%s %#04x is %v, not %v", d, int64(i)*step, v, want)
				}
			}
		}
	}
}
