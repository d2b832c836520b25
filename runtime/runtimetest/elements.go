package runtimetest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

// elementTypes reads and writes elements of every type, in order and backwards, puts them
// behind each other, and converts them there and back.
func elementTypes(t *testing.T, load Load) {
	for _, d := range tensor.DTypes() {
		t.Run(d.String(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(d), 0))
			moved := parse(t, d.String(), fmt.Sprintf(`module {
  func @main(%%x: [n] %[1]s) -> ([n] %[1]s, [n] %[1]s, [2*n] %[1]s) {
    %%y: [n] %[1]s, %%z: [n] %[1]s = call @move[n](%%x)
    %%w: [2*n] %[1]s = onnx.Concat(%%x, %%z) {axis = 0}
    return %%y, %%z, %%w
  }
  program @move[n](X: [n] %[1]s) -> (Y: [n] %[1]s, Z: [n] %[1]s) {
    Y[i < n] = X[i]
    Z[i < n] = X[({n - 1} - i)]
  }
}`, d))
			converted := parse(t, d.String(), fmt.Sprintf(`module {
  func @main(%%x: [n] %[1]s) -> ([n] %[1]s) {
    %%y: [n] %[2]s = onnx.Cast(%%x) {to = %[3]d}
    %%z: [n] %[1]s = onnx.Cast(%%y) {saturate = 0, to = %[4]d}
    return %%z
  }
}`, d, wide(d), wide(d).ONNX(), d.ONNX()))
			var moves, conversions []call
			for _, n := range []int64{0, 1, 2, 3, 17, 300} {
				x := tensor.New(d, n)
				fillAll(x, r)
				back, twice := tensor.New(d, n), tensor.New(d, 2*n)
				for i := range n {
					tensor.CopyElem(back, i, x, n-1-i)
					tensor.CopyElem(twice, i, x, i)
					tensor.CopyElem(twice, n+i, x, n-1-i)
				}
				line := fmt.Sprint(n, " elements")
				moves = append(moves, call{line: line, inputs: []tensor.Value{x}, want: []tensor.Value{x.Clone(), back, twice}})
				conversions = append(conversions, call{line: line + ", converted", inputs: []tensor.Value{x}, want: []tensor.Value{x}})
			}
			check(t, load(t, moved), moves)
			check(t, load(t, converted), conversions)
		})
	}
}

// wide is a type that has all values of d.
func wide(d tensor.DType) tensor.DType {
	switch {
	case d == tensor.String:
		return tensor.String
	case d.IsComplex():
		return tensor.C128
	case d == tensor.U64:
		return tensor.U64
	case d.IsInt(), d == tensor.Bool:
		return tensor.I64
	}
	return tensor.F64
}

// fillAll draws elements among all that the type has.
func fillAll(x *tensor.Tensor, r *rand.Rand) {
	switch d := x.DType(); d {
	case tensor.String, tensor.Bool:
		fill(x, r, 0, false)
	default:
		for i := range x.Bytes() {
			x.Bytes()[i] = byte(r.Uint32())
		}
	}
}
