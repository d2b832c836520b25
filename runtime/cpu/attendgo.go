package cpu

import (
	"math"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/kernel"
)

// What multiplies, and makes weights, in attentions where there is no machine code. Which rows go over which keys is as there.

// callInGo calls a kernel for some rows.
func (w *attender) callInGo(k *codeOf, b *kernel.Bound, rows int) {
	if len(w.memory) < len(b.Buffers) {
		w.memory = make([]unsafe.Pointer, len(b.Buffers))
	}
	scratch := unsafe.Pointer(unsafe.SliceData(w.scratch))
	for i, m := range b.Buffers {
		if m.Scratch {
			w.memory[i] = scratch
			scratch = unsafe.Add(scratch, roundUp(b.Scratch[i], 64))
			continue
		}
		w.memory[i] = w.at[k.slots[i]]
	}
	for i, n := range b.Extents {
		w.words[2*i], w.words[2*i+1] = 0, n
	}
	if b.Kernel.Ranges != nil {
		w.words[1] = int64(rows)
	}
	k.inGo.Run(&w.frame, b, w.memory[:len(b.Buffers)], w.words[:2*len(b.Extents)])
}

// tilesInGo is tiles, by blocks of four rows and two columns.
func (w *attender) tilesInGo(b *block, i0 int64, rows int) {
	x, nr, base := w.x, w.cut.nr, int(w.base())
	if len(w.four) == 0 {
		w.four = make([]float32, mr*keyBlock)
	}
	var c [mr][2]float32
	for _, keys := range w.group {
		for j := 0; j < keys.n; j += nr {
			panel, cols := w.keys[(keys.from-base+j)*b.depth:][:nr*b.depth], min(nr, keys.n-j)
			for row, i := 0, b.from; i < b.to; i++ {
				size := int(b.size(i))
				if from, to := w.wanted(b, i, (keys.from+j)/nr); from < to {
					queries := w.queries[int(i-b.from)*mr*b.depth:][:mr*b.depth]
					for h := (from - keys.from - j) &^ 1; h < to-keys.from-j; h += 2 {
						fourByTwo(&c, queries, panel[h:])
						for r := range size {
							copy(w.scores[(row+r)*keyLine+keys.at+j+h:], c[r][:min(2, cols-h)])
						}
					}
				}
				row += size
			}
		}
	}
	w.soften(b, i0, rows)
	line, cols := int(x.lineO()), int(total(x.pv.n))
	for _, keys := range w.group {
		first, last := keys.from/nr, (keys.from+keys.n+nr-1)/nr
		for row, i := 0, b.from; i < b.to; i++ {
			size := int(b.size(i))
			for k := first; k < last; {
				from, to, next := w.nextKeys(b, i, k, last)
				if k = next; from == to {
					break
				}
				n := to - from
				weights := w.four[:mr*n]
				if size < mr {
					clear(weights)
				}
				for r := range size {
					for k, v := range w.scores[(row+r)*keyLine+keys.at+from-keys.from:][:n] {
						weights[k*mr+r] = v
					}
				}
				for j := 0; j < cols; j += 2 {
					fourByTwo(&c, weights, w.values[j/nr*nr*int(x.keys)+(from-base)*nr+j%nr:])
					for r := range size {
						sums := w.sums[(row+r)*line+j:][:2]
						sums[0], sums[1] = sums[0]+c[r][0], sums[1]+c[r][1]
					}
				}
			}
			row += size
		}
	}
}

// weightsInGo brings the state of rows along with the largest X of n more keys, and makes weights of X: see kernel.Tiles.
func (w *attender) weightsInGo(rows, n int) {
	line, cols := int(w.x.lineO()), int(total(w.x.pv.n))
	for r := range rows {
		was, top := w.m[r], w.t[r]
		if !(top > was) {
			top = was
		}
		w.m[r] = top
		if math.IsInf(float64(top), -1) { // all is masked so far, and weights are 0
			top = 0
		}
		by := float32(1)
		if was != top {
			by = exp32(was - top)
			sums := w.sums[r*line:][:cols]
			for i, v := range sums {
				sums[i] = v * by
			}
		}
		x, sum := w.scores[r*keyLine:][:n], float32(0)
		for i, v := range x {
			p := exp32(v - top)
			x[i] = p
			sum += p
		}
		w.l[r] = w.l[r]*by + sum
	}
}

// exp32 is the exponential; what is 0 for sure is not worth a call.
func exp32(x float32) float32 {
	if x < -104 {
		return 0
	}
	return float32(math.Exp(float64(x)))
}

// divideInGo is kernel.Finish, in place.
func (w *attender) divideInGo(rows int) {
	line, cols := int(w.x.lineO()), int(total(w.x.pv.n))
	for r := range rows {
		sums, l := w.sums[r*line:][:cols], w.l[r]
		if math.IsInf(float64(w.m[r]), -1) {
			l = float32(math.NaN())
		}
		for i, v := range sums {
			sums[i] = v / l
		}
		if l != l && w.x.Safe {
			copy(sums, w.zeros[:cols])
		}
	}
}

// extentInGo is extent: absolute values are in the order of their bits, and behind the largest number are infinity and NaN.
func extentInGo(v []float32) (most float64, finite bool) {
	var bits uint32
	for _, x := range v {
		bits = max(bits, math.Float32bits(x)&^(1<<31))
	}
	most = float64(math.Float32frombits(bits))
	return most, most <= math.MaxFloat32
}

// fourByTwo is four rows, packed element by element of k, times two columns of a panel of portableTiles.
func fourByTwo(c *[mr][2]float32, a, b []float32) {
	const nr = 16
	var c00, c01, c10, c11, c20, c21, c30, c31 float32
	for ; len(a) >= 4*mr && len(b) >= 3*nr+2; a = a[4*mr:] {
		p, q := (*[4 * mr]float32)(a), (*[3*nr + 2]float32)(b)
		b0, b1 := q[0], q[1]
		c00, c01 = c00+p[0]*b0, c01+p[0]*b1
		c10, c11 = c10+p[1]*b0, c11+p[1]*b1
		c20, c21 = c20+p[2]*b0, c21+p[2]*b1
		c30, c31 = c30+p[3]*b0, c31+p[3]*b1
		b0, b1 = q[nr], q[nr+1]
		c00, c01 = c00+p[4]*b0, c01+p[4]*b1
		c10, c11 = c10+p[5]*b0, c11+p[5]*b1
		c20, c21 = c20+p[6]*b0, c21+p[6]*b1
		c30, c31 = c30+p[7]*b0, c31+p[7]*b1
		b0, b1 = q[2*nr], q[2*nr+1]
		c00, c01 = c00+p[8]*b0, c01+p[8]*b1
		c10, c11 = c10+p[9]*b0, c11+p[9]*b1
		c20, c21 = c20+p[10]*b0, c21+p[10]*b1
		c30, c31 = c30+p[11]*b0, c31+p[11]*b1
		b0, b1 = q[3*nr], q[3*nr+1]
		c00, c01 = c00+p[12]*b0, c01+p[12]*b1
		c10, c11 = c10+p[13]*b0, c11+p[13]*b1
		c20, c21 = c20+p[14]*b0, c21+p[14]*b1
		c30, c31 = c30+p[15]*b0, c31+p[15]*b1
		b = b[min(4*nr, len(b)):]
	}
	for ; len(a) >= mr; a = a[mr:] {
		p, q := (*[mr]float32)(a), (*[2]float32)(b)
		c00, c01 = c00+p[0]*q[0], c01+p[0]*q[1]
		c10, c11 = c10+p[1]*q[0], c11+p[1]*q[1]
		c20, c21 = c20+p[2]*q[0], c21+p[2]*q[1]
		c30, c31 = c30+p[3]*q[0], c31+p[3]*q[1]
		b = b[min(nr, len(b)):]
	}
	*c = [mr][2]float32{{c00, c01}, {c10, c11}, {c20, c21}, {c30, c31}}
}
