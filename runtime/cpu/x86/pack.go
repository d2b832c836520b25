package x86

import (
	"fmt"
	"unsafe"
)

// Pack lays out rows as a [Tile] reads them: all rows' first elements, all their
// second ones, and so on. With as many rows as a tile has, that is its A; with rows of a
// transposed B and as many of them as a tile has columns, its B.
type Pack struct {
	Rows int
}

// PackArgs is the argument block of a [Pack]'s code.
type PackArgs struct {
	K      int64          // elements of a row
	From   unsafe.Pointer // Rows pointers
	Offset int64          // bytes from each of them to the first element
	Ahead  int64          // bytes from what is read to what is fetched: where that is makes no difference but in time
	To     unsafe.Pointer // K times Rows elements of f32
}

// Program makes the code for a tier. It takes a square of rows and elements at a time, as wide as a
// vector, and transposes it in registers.
func (k Pack) Program(f Features) (*Prog, error) {
	if f&V3 == 0 {
		return nil, fmt.Errorf("x86: packing needs %s, and code is made for %q", V3, f)
	}
	if k.Rows < 1 || k.Rows > 64 {
		return nil, fmt.Errorf("x86: packing takes 1 to 64 rows, not %d", k.Rows)
	}
	kind, _ := vectors(f)
	p := NewProg(fmt.Sprintf("pack_%d", k.Rows))
	var args PackArgs
	from, at, to, n := p.load(unsafe.Offsetof(args.From)), p.load(unsafe.Offsetof(args.Offset)), p.load(unsafe.Offsetof(args.To)), p.load(unsafe.Offsetof(args.K))
	ahead := p.load(unsafe.Offsetof(args.Ahead))
	p.Emit(ADD, ahead, at)
	lanes := kind.Bits() / 32
	row := func(i int) (m, fetched Mem) {
		r := p.New(GP64)
		p.Emit(MOV, r, At(from, 8*i))
		return AtIndex(r, at, 1, 0), AtIndex(r, ahead, 1, 0)
	}
	width := 4 * k.Rows // of what there is for one k
	some := partOf(p, kind, k.Rows%lanes)

	squares, rest, single, done := p.Label("squares"), p.Label("rest"), p.Label("single"), p.Label("done")
	p.Emit(SUB, n, Imm(lanes))
	p.Emit(JL, rest)
	p.Align(lineBytes)
	p.Bind(squares)
	for first := 0; first < k.Rows; first += lanes {
		var rows []Reg
		for i := first; i < min(first+lanes, k.Rows); i++ {
			r := p.New(kind)
			m, fetched := row(i)
			p.Emit(VMOVUPS, r, m)
			p.Emit(PREFETCHT0, fetched)
			rows = append(rows, r)
		}
		for e, v := range p.Transpose(rows) {
			dst := At(to, e*width+4*first)
			switch full := len(rows) == lanes; {
			case full, kind == YMM && first == 0 && e*width+kind.Bits()/8 <= lanes*width:
				p.Emit(VMOVUPS, dst, v) // what is too much is overwritten by what comes next
			case kind == ZMM:
				p.Emit(VMOVUPS, dst.K(some), v)
			default:
				p.Emit(VMASKMOVPS, dst, some, v)
			}
		}
	}
	p.Emit(ADD, at, Imm(4*lanes))
	p.Emit(ADD, ahead, Imm(4*lanes))
	p.Emit(ADD, to, Imm(lanes*width))
	p.Emit(SUB, n, Imm(lanes))
	p.Emit(JGE, squares)

	p.Bind(rest)
	p.Emit(ADD, n, Imm(lanes))
	p.Emit(JE, done)
	p.Bind(single)
	for i := range k.Rows {
		x := p.New(XMM)
		m, _ := row(i)
		p.Emit(VMOVSS, x, m)
		p.Emit(VMOVSS, At(to, 4*i), x)
	}
	p.Emit(ADD, at, Imm(4))
	p.Emit(ADD, to, Imm(width))
	p.Emit(DEC, n)
	p.Emit(JNE, single)
	p.Bind(done)
	p.Emit(RET)
	return p, nil
}

// partOf is a mask of the first n elements of f32: a mask register in AVX-512, a vector in
// AVX2; nothing for none.
func partOf(p *Prog, kind Kind, n int) Reg {
	if n == 0 {
		return NoReg
	}
	if kind == ZMM {
		bits, m := p.New(GP64), p.New(Mask)
		p.Emit(MOV, bits.As(GP32), Imm(1<<n-1))
		p.Emit(KMOVW, m, bits.As(GP32))
		return m
	}
	ones := make([]uint32, kind.Bits()/32)
	for i := range n {
		ones[i] = 1<<32 - 1
	}
	m := p.New(kind)
	p.Emit(VMOVUPS, m, p.U32(ones...))
	return m
}

// Transpose gives the columns of a square of f32 whose rows are vectors: 16 of 16, or 8 of 8. Where
// there are fewer rows, the columns hold anything behind them.
func (p *Prog) Transpose(rows []Reg) []Reg {
	kind := rows[0].Kind()
	lanes := kind.Bits() / 32
	two := func(op *Op, a, b Reg, imm ...Operand) Reg {
		d := p.New(kind)
		p.Emit(op, append([]Operand{d, a, b}, imm...)...)
		return d
	}
	// Squares of 4 in each 128 bits: block[g][c] holds, in part l, column 4l+c of rows
	// 4g to 4g+3.
	var block [][4]Reg
	for g := 0; g < len(rows); g += 4 {
		r := func(i int) Reg { return rows[min(g+i, len(rows)-1)] }
		t0, t1 := two(VUNPCKLPS, r(0), r(1)), two(VUNPCKHPS, r(0), r(1))
		t2, t3 := two(VUNPCKLPS, r(2), r(3)), two(VUNPCKHPS, r(2), r(3))
		block = append(block, [4]Reg{two(VUNPCKLPD, t0, t2), two(VUNPCKHPD, t0, t2), two(VUNPCKLPD, t1, t3), two(VUNPCKHPD, t1, t3)})
	}
	// Then the parts of 128 bits are transposed.
	columns := make([]Reg, lanes)
	for c := range 4 {
		part := func(g int) Reg { return block[min(g, len(block)-1)][c] }
		if lanes == 8 {
			columns[c] = two(VPERM2F128, part(0), part(1), Imm(0x20))
			columns[4+c] = two(VPERM2F128, part(0), part(1), Imm(0x31))
			continue
		}
		low, high := two(VSHUFF32X4, part(0), part(1), Imm(0x44)), two(VSHUFF32X4, part(0), part(1), Imm(0xEE))
		low2, high2 := low, high
		if len(block) > 2 {
			low2, high2 = two(VSHUFF32X4, part(2), part(3), Imm(0x44)), two(VSHUFF32X4, part(2), part(3), Imm(0xEE))
		}
		columns[c] = two(VSHUFF32X4, low, low2, Imm(0x88))
		columns[4+c] = two(VSHUFF32X4, low, low2, Imm(0xDD))
		columns[8+c] = two(VSHUFF32X4, high, high2, Imm(0x88))
		columns[12+c] = two(VSHUFF32X4, high, high2, Imm(0xDD))
	}
	return columns
}
