package kernel

import (
	"fmt"
	"math"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Fragments: matrices that the lanes of a vector hold together, as tensor cores multiply them. They are loaded from scratch, and
// stored there; what lies in memory comes there as vectors.

// fragmentRow is what distances of rows in scratch are a multiple of: 16 bytes of f16, which hardware loads as one.
const fragmentRow = 8

// ofFragment says whether a load or store is of a fragment.
func (v *Value) ofFragment() bool { return v.Access == Rows || v.Access == Columns }

// fragment verifies a load or store of a fragment, and gives where it can be.
func (v *verifier) fragment(x *Value, f form) (form, error) {
	kind, ok := x.Kind, false
	if x.Op == OpStore {
		kind = x.Args[2].Kind
		ok = kind == FragC && x.Buf.DType == tensor.F32 && x.Access == Rows
	} else {
		ok = (kind == FragA || kind == FragB) && (x.Buf.DType == tensor.F16 || x.Buf.DType == tensor.BF16)
	}
	rows, columns := kind.Fragment()
	switch {
	case !ok || !x.Buf.Scratch:
		return f, fmt.Errorf("a %s of a %s, of %s", x.Op, kind, x.Buf.DType)
	case x.N <= 0 || x.N%fragmentRow != 0:
		return f, fmt.Errorf("rows of a fragment lie %d elements apart", x.N)
	}
	for _, e := range append([]posTerm{{k: f.c}}, f.terms...) {
		if n, ok := e.k.Int(); !ok || n%fragmentRow != 0 {
			return f, fmt.Errorf("a fragment begins at a multiple of %s", e.k)
		}
	}
	if x.Access == Columns {
		rows, columns = columns, rows
	}
	f.terms = append(append([]posTerm(nil), f.terms...), posTerm{of: x, extent: sym.Const(int64(rows)), k: sym.Const(x.N)},
		posTerm{of: x, extent: sym.Const(int64(columns)), k: sym.Const(1)})
	return f, nil
}

// fragment loads or stores one: lanes are its elements, row by row.
func (e *evaluator) fragment(x *Value, args []val) (val, error) {
	kind, out := x.Kind, val{}
	if x.Op == OpStore {
		kind = x.Args[2].Kind
	}
	rows, columns := kind.Fragment()
	for r := range rows {
		for c := range columns {
			at := int64(r)*x.N + int64(c)
			if x.Access == Columns {
				at = int64(c)*x.N + int64(r)
			}
			m, err := e.element(x, args[0].n+args[1].n+at)
			switch {
			case err != nil:
				return val{}, err
			case x.Op == OpStore:
				write(x.Buf.DType, m, args[2].lanes[r*columns+c])
			default:
				out.lanes = append(out.lanes, read(x.Buf.DType, m))
			}
		}
	}
	return out, nil
}

// mma multiplies fragments.
func mma(args []val) val {
	rows, columns := FragC.Fragment()
	depth, _ := FragB.Fragment()
	a, b, c := args[0].lanes, args[1].lanes, args[2].lanes
	wide := func(bits uint64) float64 { return float64(math.Float32frombits(uint32(bits))) }
	out := make([]uint64, 0, rows*columns)
	for i := range rows {
		for j := range columns {
			sum := wide(c[i*columns+j])
			for k := range depth {
				sum += wide(a[i*depth+k]) * wide(b[k*columns+j]) // the product is exact
			}
			out = append(out, uint64(floatBits(float32(sum))))
		}
	}
	return val{lanes: out}
}
