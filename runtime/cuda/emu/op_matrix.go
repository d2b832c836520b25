package emu

import "math"

// matrixOps are the products of tensor cores, and the loads that feed them.
var matrixOps = map[string]func(d *decoder){"mma": decodeMma, "ldmatrix": decodeLdmatrix, "stmatrix": decodeStmatrix}

// Lane l of a warp holds, with g = l/4 and q = l%4 and e elements in a register of 32 bits:
//
//	A (16 x k): register i: row g + 8*(i%2), columns e*q + 4*e*(i/2) on
//	B (k x 8):  register i: rows e*q + 4*e*i on, column g
//	C, D (16 x 8): row g + 8*(i/2), column 2*q + i%2 as elements; in f16 two lie in a register
//
// as PTX says of m16n8k4 to m16n8k32.

// mmaShape is a product that there is.
type mmaShape struct {
	k       int
	a, b, c []typ // types of A, B, and of C and D
	sm      int
}

var mmaShapes = map[string][]mmaShape{
	"m16n8k4":  {{4, []typ{tf32}, []typ{tf32}, []typ{f32}, 80}},
	"m16n8k8":  {{8, []typ{f16}, []typ{f16}, []typ{f32, f16}, 75}, {8, []typ{bf16}, []typ{bf16}, []typ{f32}, 80}, {8, []typ{tf32}, []typ{tf32}, []typ{f32}, 80}},
	"m16n8k16": {{16, []typ{f16}, []typ{f16}, []typ{f32, f16}, 80}, {16, []typ{bf16}, []typ{bf16}, []typ{f32}, 80}, {16, []typ{u8, s8}, []typ{u8, s8}, []typ{s32}, 80}},
	"m16n8k32": {{32, []typ{u8, s8}, []typ{u8, s8}, []typ{s32}, 80}},
}

func among(t typ, list []typ) bool {
	for _, x := range list {
		if x == t {
			return true
		}
	}
	return false
}

func decodeMma(d *decoder) {
	if !d.take("sync") || !d.take("aligned") || !d.take("row") || !d.take("col") {
		d.fail(".sync.aligned, .row and .col are needed")
		return
	}
	sat := d.take("satfinite")
	shape := ""
	for name := range mmaShapes {
		if d.take(name) {
			shape = name
		}
	}
	if shape == "" {
		d.fail("no such shape; there are m16n8k4, m16n8k8, m16n8k16, m16n8k32")
		return
	}
	if len(d.types) != 4 {
		d.fail("four types are needed: of D, A, B and C")
		return
	}
	tD, tA, tB, tC := d.types[0], d.types[1], d.types[2], d.types[3]
	var s *mmaShape
	for i := range mmaShapes[shape] {
		x := &mmaShapes[shape][i]
		if among(tA, x.a) && among(tB, x.b) && among(tC, x.c) && tC == tD {
			s = x
		}
	}
	if s == nil {
		d.fail("not of these types")
		return
	}
	if sat && tD != s32 {
		d.fail(".satfinite is for integers")
	}
	d.needs(s.sm, 70)
	if !d.operands(4, 4) {
		return
	}
	perReg := 4 / tA.bytes()
	nA, nB, nC := 16*s.k/32/perReg, 8*s.k/32/perReg, 4
	tR := tC
	if tC == f16 {
		nC, tR = 2, b32
	}
	regs := func(n, want int, t typ, result bool) []int32 {
		o := &d.in.args[n]
		list := o.vec
		if o.kind != vecOperand {
			list = []operand{*o}
		}
		if len(list) != want {
			d.fail("operand %d has %d registers, not %d", n+1, len(list), want)
			return nil
		}
		var out []int32
		for i := range list {
			if result {
				out = append(out, d.result(&list[i], t, false))
			} else {
				out = append(out, d.value(&list[i], t, false))
			}
		}
		return out
	}
	rD, rA, rB, rC := regs(0, nC, tR, true), regs(1, nA, b32, false), regs(2, nB, b32, false), regs(3, nC, tR, false)
	if d.err != nil {
		return
	}
	d.out.kind = warpInstr
	k := s.k
	if tD == s32 {
		d.out.run = func(w *warp, m uint32) {
			w.stats.MMA++
			var A [16][32]int32
			var B [8][32]int32 // by columns
			fragment(w, rA, perReg, func(v uint64, _ int) int32 { return int32(as(v&0xff, tA)) }, func(i, g, at int) *int32 { return &A[g+8*(i&1)][at+4*perReg*(i>>1)] })
			fragment(w, rB, perReg, func(v uint64, _ int) int32 { return int32(as(v&0xff, tB)) }, func(i, g, at int) *int32 { return &B[g][at+4*perReg*i] })
			for l := range 32 {
				for i := range 4 {
					row, col := l>>2+8*(i>>1), l&3*2+i&1
					sum := int64(int32(w.regs[rC[i]][l]))
					for j := range k {
						sum += int64(A[row][j]) * int64(B[col][j])
					}
					if sat {
						sum = min(max(sum, math.MinInt32), math.MaxInt32)
					}
					w.temp[i][l] = uint64(uint32(sum))
				}
			}
			for i := range 4 {
				w.regs[rD[i]] = w.temp[i]
			}
		}
		return
	}
	elem := func(v uint64, _ int) float64 { return float64(fromF32(v & 0xffffe000)) }
	if sm, _ := smallOf(tA); sm != nil {
		elem = func(v uint64, _ int) float64 { return sm.get(v & 0xffff) }
	}
	d.out.run = func(w *warp, m uint32) {
		w.stats.MMA++
		var A [16][16]float64
		var B [8][16]float64 // by columns
		fragment(w, rA, perReg, elem, func(i, g, at int) *float64 { return &A[g+8*(i&1)][at+4*perReg*(i>>1)] })
		fragment(w, rB, perReg, elem, func(i, g, at int) *float64 { return &B[g][at+4*perReg*i] })
		for l := range 32 {
			g, q := l>>2, l&3
			var out [4]float64
			for i := range 4 {
				row, col := &A[g+8*(i>>1)], &B[q*2+i&1]
				var sum float64
				if tC == f16 {
					sum = half.get(w.regs[rC[i>>1]][l] >> (16 * (i & 1)) & 0xffff)
				} else {
					sum = float64(fromF32(w.regs[rC[i]][l]))
				}
				for j := range k {
					sum += row[j] * col[j]
				}
				out[i] = sum
			}
			if tC == f16 {
				w.temp[0][l] = half.round(out[0], 0, nearest) | half.round(out[1], 0, nearest)<<16
				w.temp[1][l] = half.round(out[2], 0, nearest) | half.round(out[3], 0, nearest)<<16
				continue
			}
			for i := range 4 {
				w.temp[i][l] = toF32(float32(out[i]))
			}
		}
		for i := range rD {
			w.regs[rD[i]] = w.temp[i]
		}
	}
}

// fragment takes a matrix from registers, of n elements each.
func fragment[T any](w *warp, regs []int32, n int, elem func(v uint64, j int) T, at func(i, g, col int) *T) {
	bits := uint(32 / n)
	for i, r := range regs {
		x := &w.regs[r]
		for l := range x {
			v := x[l]
			for j := range n {
				*at(i, l>>2, (l&3)*n+j) = elem(v>>(uint(j)*bits), j)
			}
		}
	}
}

// matrixAccess decodes ldmatrix and stmatrix: 8x8 matrices of 16 bits, whose rows lie at the
// addresses that the lanes give, eight lanes a matrix.
func matrixAccess(d *decoder, at, val *operand, load bool) (regs []int32, sp space, base int32, off uint64, trans bool) {
	if !d.take("sync") || !d.take("aligned") || !d.take("m8n8") {
		d.fail(".sync.aligned.m8n8 is needed")
	}
	trans = d.take("trans")
	n := map[string]int{"x1": 1, "x2": 2, "x4": 4}[d.oneOf("x1", "x2", "x4")]
	if n == 0 {
		d.fail("one of .x1, .x2 and .x4 is needed")
	}
	d.among(d.typ(0, 1), b16)
	sp = d.space(at)
	if sp != shared && sp != generic {
		d.fail("it is for shared memory")
	}
	base, off = d.address(at)
	list := []operand{*val}
	if val.kind == vecOperand {
		list = val.vec
	}
	if len(list) != n {
		d.fail("%d registers for %d matrices", len(list), n)
		return
	}
	for i := range list {
		if load {
			regs = append(regs, d.result(&list[i], b32, false))
		} else {
			regs = append(regs, d.value(&list[i], b32, false))
		}
	}
	d.out.kind = warpInstr
	return regs, sp, base, off, trans
}

func decodeLdmatrix(d *decoder) {
	d.needs(75, 65)
	if !d.operands(2, 2) {
		return
	}
	regs, sp, base, off, trans := matrixAccess(d, &d.in.args[1], &d.in.args[0], true)
	d.out.run = func(w *warp, m uint32) {
		addr := w.regs[base]
		for i, r := range regs {
			var mat [8][8]uint64
			for row := range 8 {
				l := 8*i + row
				p := addr[l] + off
				w.addrs[l] = p
				in := sp
				data, at, al := w.place(&in, l, p, 16, reads)
				w.note(in, l, at, 16, al, reads, false)
				for c := range 8 {
					mat[row][c] = get(data[at+uint64(2*c):], 2)
				}
			}
			w.count(shared, 0xff<<(8*i), 16, false)
			for l := range 32 {
				g, q := l>>2, l&3*2
				if trans {
					w.regs[r][l] = mat[q][g] | mat[q+1][g]<<16
				} else {
					w.regs[r][l] = mat[g][q] | mat[g][q+1]<<16
				}
			}
		}
	}
}

func decodeStmatrix(d *decoder) {
	d.needs(90, 78)
	if !d.operands(2, 2) {
		return
	}
	regs, sp, base, off, trans := matrixAccess(d, &d.in.args[0], &d.in.args[1], false)
	d.out.run = func(w *warp, m uint32) {
		addr := w.regs[base]
		for i, r := range regs {
			var mat [8][8]uint64
			for l := range 32 {
				g, q, v := l>>2, l&3*2, w.regs[r][l]
				if trans {
					mat[q][g], mat[q+1][g] = v&0xffff, v>>16
				} else {
					mat[g][q], mat[g][q+1] = v&0xffff, v>>16
				}
			}
			for row := range 8 {
				l := 8*i + row
				p := addr[l] + off
				w.addrs[l] = p
				in := sp
				data, at, al := w.place(&in, l, p, 16, writes)
				w.note(in, l, at, 16, al, writes, false)
				for c := range 8 {
					put(data[at+uint64(2*c):], 2, mat[row][c])
				}
			}
			w.count(shared, 0xff<<(8*i), 16, true)
		}
	}
}
