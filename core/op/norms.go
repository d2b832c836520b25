package op

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Norm bounds by how much a matrix makes vectors longer: passes ask it of weights that they did not read. In each run it would be
// the same.
//
// The norm of a part A is at most that of (AᵀA)², to the power of 1/4, in the sense of the root of the sum of squares: it is 1.7 times too
// large where A has 64 columns, and no direction is longer than others.
//
// What shift adds is summed up as f32 by who uses it, and its terms may be far larger than their sum: ||shift·W|| has room for that.
var Norm = ir.Register(&ir.OpDef{
	Name: "pit.Norm",
	Doc: `a bound of ||x·diag(gain)·W|| for all x of norm 1, and ||shift·W||, the largest for parts of W of so many
columns; along axis W is multiplied. NaN where W is not finite`,
	In: ops(in("W", "", floats), opt("gain", "", floats), opt("shift", "", floats)), Out: ops(in("N", "", float64s), in("S", "", float64s)),
	Attrs: attrs(attr("axis", 0), attrReq("part", int64(0))),
	Deduce: func(c *call) error {
		w, axis, part := c.Tensor(0), c.Int("axis"), c.Int("part")
		if len(w.Dims) != 2 || axis != 0 && axis != 1 {
			return c.Errorf("axis %d of a tensor of rank %d", axis, len(w.Dims)).Hint("W is a matrix, and axis 0 or 1")
		}
		if n, ok := w.Dims[1-axis].Int(); part < 1 || ok && n%part != 0 {
			return c.Errorf("parts of %d columns of %s", part, w.Dims[1-axis]).Hint("all parts have as many columns")
		}
		for i := 1; i < 3; i++ {
			if c.Has(i) {
				if n, ok := sym.Prod(c.Tensor(i).Dims...).Int(); ok {
					if m, ok := w.Dims[axis].Int(); ok && n != m {
						return c.Errorf("%d elements for %d rows", n, m)
					}
				}
			}
		}
		c.SetOut(0, tensor.F64)
		c.SetOut(1, tensor.F64)
		return nil
	},
	Fill: func(k *ir.KernelCall, out []*tensor.Tensor) error {
		w, axis, part := k.Arg(0), k.Call.Int("axis"), k.Call.Int("part")
		rows, columns := w.Shape()[axis], w.Shape()[1-axis]
		each := func(i int, missing float64) []float64 {
			list := make([]float64, rows)
			for j := range list {
				list[j] = missing
				if k.Call.Has(i) {
					list[j] = k.Arg(i).Float(int64(j))
				}
			}
			return list
		}
		gain, shift := each(1, 1), each(2, 0)
		norm, shifted := 0.0, 0.0
		group := part * max(1, 64/part) // columns that are read together: what lies side by side is of many
		m := make(columnsOf, min(group, columns))
		for i := range m {
			m[i] = make([]float64, rows)
		}
		for from := int64(0); from < columns; from += group {
			if err := k.Context.Err(); err != nil {
				return diag.Stopped(err)
			}
			m = m[:min(group, columns-from)]
			m.take(w, axis, from)
			for p := range slices.Chunk(m, int(part)) {
				length := 0.0
				for _, x := range p {
					v := dot(x, shift)
					rounded := 0.0
					for i := range x {
						rounded += math.Abs(x[i] * shift[i])
						x[i] *= gain[i]
					}
					v = math.Abs(v) + rounded*roundingOf(rows)
					length += v * v
				}
				shifted, norm = max(shifted, math.Sqrt(length)), max(norm, p.norm())
			}
		}
		for i, v := range []float64{norm, shifted} {
			if out[i] != nil {
				out[i].SetFloat(0, v)
			}
		}
		return nil
	},
})

// roundingOf is by how much a sum of n numbers of f32 is off at most, of the sum of their sizes.
func roundingOf(n int64) float64 { return 0x1p-21 * float64(n+64) }

// columnsOf is a matrix, column by column.
type columnsOf [][]float64

// take reads columns of w from one on.
func (m columnsOf) take(w *tensor.Tensor, axis, from int64) {
	rows, stride, step := w.Shape()[axis], w.Shape()[1], int64(1)
	if axis == 1 {
		stride, step = step, stride
	}
	element := w.Float
	switch w.DType() {
	case tensor.F32:
		data := tensor.Data[float32](w)
		element = func(i int64) float64 { return float64(data[i]) }
	case tensor.F16:
		data := tensor.Data[uint16](w)
		element = func(i int64) float64 { return float64(tensor.F16ToF32(data[i])) }
	}
	for r := range rows {
		at := r*stride + from*step
		for _, x := range m {
			x[r] = element(at)
			at += step
		}
	}
}

// mostColumns is of how many columns products are looked at: of more it would take long, and the root of the sum of squares does.
const mostColumns = 128

// norm bounds by how much the matrix makes a vector longer; the matrix is scaled.
func (m columnsOf) norm() float64 {
	most, squares := 0.0, 0.0
	for _, x := range m {
		for _, v := range x {
			most = max(most, math.Abs(v))
		}
	}
	if most == 0 || !(most < math.Inf(1)) {
		return most
	}
	for _, x := range m {
		for i := range x {
			x[i] /= most // so that no power of it is too large
		}
		squares += dot(x, x)
	}
	if len(m) > mostColumns {
		return most * math.Sqrt(squares)
	}
	gram := m.gram()
	squares = 0
	for i, x := range gram {
		for _, y := range gram[:i] {
			v := dot(x, y)
			squares += 2 * v * v
		}
		squares += dot(x, x) * dot(x, x)
	}
	return most * math.Pow(squares, 1./8)
}

// gram is the products of all columns with all.
func (m columnsOf) gram() columnsOf {
	g := make(columnsOf, len(m))
	for i := range g {
		g[i] = make([]float64, len(m))
	}
	n := len(m) - 1
	for i := 0; i <= n; i += 4 { // of what is behind the last one, the last one again
		is := [4]int{i, min(i+1, n), min(i+2, n), min(i+3, n)}
		a, b, c, d := m[is[0]], m[is[1]], m[is[2]], m[is[3]]
		for j := 0; j <= is[3]; j += 2 {
			js := [2]int{j, min(j+1, n)}
			for k, v := range dots(a, b, c, d, m[js[0]], m[js[1]]) {
				g[is[k/2]][js[k%2]], g[js[k%2]][is[k/2]] = v, v
			}
		}
	}
	return g
}

// dots are the products of four columns with two.
func dots(a, b, c, d, x, y []float64) [8]float64 {
	n := len(a)
	b, c, d, x, y = b[:n], c[:n], d[:n], x[:n], y[:n]
	var ax, ay, bx, by, cx, cy, dx, dy float64
	for k := range n {
		v, w := x[k], y[k]
		ax += a[k] * v
		ay += a[k] * w
		bx += b[k] * v
		by += b[k] * w
		cx += c[k] * v
		cy += c[k] * w
		dx += d[k] * v
		dy += d[k] * w
	}
	return [8]float64{ax, ay, bx, by, cx, cy, dx, dy}
}

func dot(x, y []float64) float64 {
	var a, b, c, d float64
	for ; len(x) >= 4; x, y = x[4:], y[4:] {
		a += x[0] * y[0]
		b += x[1] * y[1]
		c += x[2] * y[2]
		d += x[3] * y[3]
	}
	for i, v := range x {
		a += v * y[i]
	}
	return a + b + (c + d)
}
