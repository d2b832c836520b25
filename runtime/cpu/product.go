package cpu

import (
	"sync/atomic"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
)

// Blocking, after Goto and van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication" (ACM TOMS 2008): a panel of B of kc x nc stays in the second-level
// cache while panels of A of mr rows go by.
const (
	mr = 4
	nr = 4
	kc = 256
	nc = 512
)

// product computes a stage that match recognised.
func (d *Device) product(s *interp.Stage, p *product, mem rt.Memory) error {
	if p.a.pad != nil {
		t, err := padded(p.a, mem)
		if err != nil {
			return err
		}
		defer mem.Free(t)
		p.a.t = t
	}
	if p.out.DType() == tensor.F64 {
		return multiply[float64](s, p, d.threads, mem)
	}
	return multiply[float32](s, p, d.threads, mem)
}

// padded copies an operand into the middle of zeros: the range of positions that loads
// reach.
func padded(o operand, mem rt.Memory) (*tensor.Tensor, error) {
	t, err := mem.Alloc(o.t.DType(), o.pad.size)
	if err != nil {
		return nil, err
	}
	clear(t.Bytes())
	elem := int64(o.t.DType().Bits() / 8)
	shape := o.t.Shape()
	var copyDim func(dim int, from, to int64)
	copyDim = func(dim int, from, to int64) {
		lo, hi := max(0, o.pad.lo[dim]), min(shape[dim], o.pad.lo[dim]+o.pad.size[dim])
		if dim == len(shape)-1 {
			if lo < hi {
				a, b := (from*shape[dim]+lo)*elem, (to*o.pad.size[dim]+lo-o.pad.lo[dim])*elem
				copy(t.Bytes()[b:b+(hi-lo)*elem], o.t.Bytes()[a:])
			}
			return
		}
		for i := lo; i < hi; i++ {
			copyDim(dim+1, from*shape[dim]+i, to*o.pad.size[dim]+i-o.pad.lo[dim])
		}
	}
	copyDim(0, 0, 0)
	return t, nil
}

// offsets lists the addresses that a nest of loops steps through, the last loop innermost.
func offsets(list []loop, step func(loop) int64) []int {
	out := []int{0}
	for _, l := range list {
		next := make([]int, 0, len(out)*int(l.extent))
		for _, o := range out {
			for i := range l.extent {
				next = append(next, o+int(i*step(l)))
			}
		}
		out = next
	}
	return out
}

func stepA(l loop) int64 { return l.a }
func stepB(l loop) int64 { return l.b }

func outOffsets(list []loop, strides []int64) []int {
	with := make([]loop, len(list))
	for i, l := range list {
		with[i] = loop{extent: l.extent, a: strides[i]}
	}
	return offsets(with, stepA)
}

// multiply computes all batches. Work is cut into tiles of rows and columns that threads
// claim one by one.
func multiply[T float32 | float64](s *interp.Stage, p *product, threads int, mem rt.Memory) error {
	A, B, C := tensor.Data[T](p.a.t), tensor.Data[T](p.b.t), tensor.Data[T](p.out)
	batchA, batchB, batchC := offsets(p.batch, stepA), offsets(p.batch, stepB), outOffsets(p.batch, p.outBatch)
	rowA, rowC := offsets(p.m, stepA), outOffsets(p.m, p.outM)
	colB, colC := offsets(p.n, stepB), outOffsets(p.n, p.outN)
	kA, kB := offsets(p.k, stepA), offsets(p.k, stepB)
	g := &gemm[T]{a: A, b: B, c: C, rowA: rowA, rowC: rowC, colB: colB, colC: colC, kA: kA, kB: kB}

	// Rows per tile: enough that packing B pays, few enough that threads share the work.
	// It depends on sizes alone.
	mc := 64
	tilesM, tilesN := (len(rowA)+mc-1)/mc, (len(colB)+nc-1)/nc
	tiles := len(batchA) * tilesN
	split := tiles < 8 // few columns: cut rows too, each tile packing B for itself
	if split {
		tiles *= tilesM
	}
	if int64(len(batchA))*total(p.m)*total(p.n)*total(p.k) < 4*alone {
		threads = 1
	}
	threads = min(threads, tiles)
	var next atomic.Int64
	return parallel(threads, func(int) error {
		packA, err := mem.Alloc(p.out.DType(), []int64{int64(mc * kc)})
		if err != nil {
			return err
		}
		defer mem.Free(packA)
		packB, err := mem.Alloc(p.out.DType(), []int64{int64((nc + nr) * kc)})
		if err != nil {
			return err
		}
		defer mem.Free(packB)
		pa, pb := tensor.Data[T](packA), tensor.Data[T](packB)
		for {
			t := int(next.Add(1)) - 1
			if t >= tiles {
				return nil
			}
			if err := s.Context().Err(); err != nil {
				return diag.New(diag.Interrupted, "the run was stopped: %v", err)
			}
			m0, m1 := 0, len(rowA)
			if split {
				m0 = t % tilesM * mc
				m1 = min(m0+mc, len(rowA))
				t /= tilesM
			}
			batch, n0 := t/tilesN, t%tilesN*nc
			g.tile(batchA[batch]+int(p.a.base), batchB[batch]+int(p.b.base), batchC[batch], m0, m1, n0, min(n0+nc, len(colB)), mc, pa, pb)
		}
	})
}

// gemm is a matrix product over lists of addresses: element (m, k) of A lies at
// rowA[m] + kA[k], and so on.
type gemm[T float32 | float64] struct {
	a, b, c                []T
	rowA, colB, rowC, colC []int
	kA, kB                 []int
}

// tile computes rows m0..m1 and columns n0..n1 of one batch.
func (g *gemm[T]) tile(baseA, baseB, baseC, m0, m1, n0, n1, mc int, packA, packB []T) {
	for k0 := 0; k0 < len(g.kA); k0 += kc {
		k1 := min(k0+kc, len(g.kA))
		g.packB(packB, baseB, n0, n1, k0, k1)
		for i0 := m0; i0 < m1; i0 += mc {
			i1 := min(i0+mc, m1)
			g.packA(packA, baseA, i0, i1, k0, k1)
			for j := n0; j < n1; j += nr {
				bp := packB[(j-n0)*(k1-k0):]
				for i := i0; i < i1; i += mr {
					g.kernel(packA[(i-i0)*(k1-k0):], bp, k1-k0, i, min(i+mr, i1), j, min(j+nr, n1), baseC, k0 == 0)
				}
			}
		}
	}
}

// packA lays rows out in panels of mr, element by element of k; rows that are missing
// at the end are 0.
func (g *gemm[T]) packA(to []T, base, i0, i1, k0, k1 int) {
	for i := i0; i < i1; i += mr {
		panel := to[(i-i0)*(k1-k0) : (i-i0+mr)*(k1-k0)]
		for r := range mr {
			if i+r >= i1 {
				for k := 0; k < k1-k0; k++ {
					panel[k*mr+r] = 0
				}
				continue
			}
			row := base + g.rowA[i+r]
			for k, off := range g.kA[k0:k1] {
				panel[k*mr+r] = g.a[row+off]
			}
		}
	}
}

// packB lays columns out in panels of nr.
func (g *gemm[T]) packB(to []T, base, n0, n1, k0, k1 int) {
	for j := n0; j < n1; j += nr {
		panel := to[(j-n0)*(k1-k0) : (j-n0+nr)*(k1-k0)]
		if j+nr > n1 {
			clear(panel)
		}
		cols := g.colB[j:min(j+nr, n1)]
		for k, off := range g.kB[k0:k1] {
			for c, col := range cols {
				panel[k*nr+c] = g.b[base+off+col]
			}
		}
	}
}

// kernel adds a panel of A times a panel of B to mr x nr elements of C, in registers.
func (g *gemm[T]) kernel(a, b []T, n, i0, i1, j0, j1, baseC int, first bool) {
	var c [mr][nr]T
	var c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33 T
	a, b = a[:n*mr], b[:n*nr]
	for len(a) >= mr && len(b) >= nr {
		a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
		b0 := b[0]
		c00 += a0 * b0
		c10 += a1 * b0
		c20 += a2 * b0
		c30 += a3 * b0
		b0 = b[1]
		c01 += a0 * b0
		c11 += a1 * b0
		c21 += a2 * b0
		c31 += a3 * b0
		b0 = b[2]
		c02 += a0 * b0
		c12 += a1 * b0
		c22 += a2 * b0
		c32 += a3 * b0
		b0 = b[3]
		c03 += a0 * b0
		c13 += a1 * b0
		c23 += a2 * b0
		c33 += a3 * b0
		a, b = a[mr:], b[nr:]
	}
	c[0] = [nr]T{c00, c01, c02, c03}
	c[1] = [nr]T{c10, c11, c12, c13}
	c[2] = [nr]T{c20, c21, c22, c23}
	c[3] = [nr]T{c30, c31, c32, c33}
	for i := i0; i < i1; i++ {
		row := baseC + g.rowC[i]
		for j := j0; j < j1; j++ {
			if v := c[i-i0][j-j0]; first {
				g.c[row+g.colC[j]] = v
			} else {
				g.c[row+g.colC[j]] += v
			}
		}
	}
}
