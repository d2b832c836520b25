package x86

import (
	"fmt"
	"unsafe"
)

// Columns packs columns of B as a [Tile] reads them, where they lie in runs of elements side by side: as
// pixels of an image do, whose rows end within a panel. Each vector of columns is put together from
// as many runs, of which those that are too many have no lanes.
type Columns struct {
	Cols    int // of the panel
	Vectors int // of it that a call packs
	Runs    int // in a vector
}

// MostRuns is how many runs there may be in a call: each has a register for its lanes.
const MostRuns = 7

// ColumnsArgs is the argument block of a [Columns]' code. Only the lanes of a run are read. Columns that
// belong to none are 0.
type ColumnsArgs struct {
	K    int64
	List unsafe.Pointer    // K numbers of 32 bits: bytes from each run to its elements of row k
	To   unsafe.Pointer    // the first of the vectors in the panel
	From [MostRuns]uintptr // vector by vector: what lane 0 would read, wherever that is
	Lane [MostRuns]uint32  // bits of lanes
}

// Check tells whether there are registers for it.
func (c Columns) Check(f Features) error {
	if f&V3 == 0 {
		return fmt.Errorf("x86: packing needs %s, and code is made for %q", V3, f)
	}
	kind, _ := vectors(f)
	if c.Runs < 1 || c.Vectors < 1 || c.Runs*c.Vectors > MostRuns || c.Cols < c.Vectors*kind.Bits()/32 {
		return fmt.Errorf("x86: %d vectors of %d runs: there are %d runs at most", c.Vectors, c.Runs, MostRuns)
	}
	return nil
}

// Program makes the code for a tier.
func (c Columns) Program(f Features) (*Prog, error) {
	if err := c.Check(f); err != nil {
		return nil, err
	}
	kind, _ := vectors(f)
	size := kind.Bits() / 8
	p := NewProg(fmt.Sprintf("columns_%dx%d_of_%d", c.Vectors, c.Runs, c.Cols))
	var args ColumnsArgs
	n, list, to := p.load(unsafe.Offsetof(args.K)), p.load(unsafe.Offsetof(args.List)), p.load(unsafe.Offsetof(args.To))
	var from, lanes []Reg
	var bits Reg
	if kind == YMM {
		bits = p.New(kind)
		p.Emit(VMOVUPS, bits, p.U32(1, 2, 4, 8, 16, 32, 64, 128))
	}
	for i := range c.Vectors * c.Runs {
		from = append(from, p.load(unsafe.Offsetof(args.From)+8*uintptr(i)))
		m := arg(unsafe.Offsetof(args.Lane) + 4*uintptr(i))
		if kind == ZMM {
			b, k := p.New(GP64), p.New(Mask)
			p.Emit(MOV, b.As(GP32), m)
			p.Emit(KMOVW, k, b.As(GP32))
			lanes = append(lanes, k)
			continue
		}
		k := p.New(kind)
		p.Emit(VPBROADCASTD, k, m)
		p.Emit(VPAND, k, k, bits)
		p.Emit(VPCMPEQD, k, k, bits)
		lanes = append(lanes, k)
	}
	step := func(u int) {
		at := p.New(GP64)
		p.Emit(MOVSXD, at, At(list, 4*u))
		for v := range c.Vectors {
			x := p.New(kind)
			for i := v * c.Runs; i < (v+1)*c.Runs; i++ {
				m, first := AtIndex(from[i], at, 1, 0), i == v*c.Runs
				switch {
				case kind == ZMM && first:
					p.Emit(VMOVUPS, x.Z(lanes[i]), m)
				case kind == ZMM:
					p.Emit(VMOVUPS, x.K(lanes[i]), m)
				case first:
					p.Emit(VMASKMOVPS, x, lanes[i], m)
				default:
					y := p.New(kind)
					p.Emit(VMASKMOVPS, y, lanes[i], m)
					p.Emit(VORPS, x, x, y)
				}
			}
			p.Emit(VMOVUPS, At(to, 4*c.Cols*u+v*size), x)
		}
	}
	loop, rest, last, done := p.Label("loop"), p.Label("rest"), p.Label("last"), p.Label("done")
	p.Emit(SUB, n, Imm(tileUnroll))
	p.Emit(JL, rest)
	p.Align(lineBytes)
	p.Bind(loop)
	for u := range tileUnroll {
		step(u)
	}
	p.Emit(ADD, list, Imm(4*tileUnroll))
	p.Emit(ADD, to, Imm(4*c.Cols*tileUnroll))
	p.Emit(SUB, n, Imm(tileUnroll))
	p.Emit(JGE, loop)
	p.Bind(rest)
	p.Emit(ADD, n, Imm(tileUnroll))
	p.Emit(JE, done)
	p.Bind(last)
	step(0)
	p.Emit(ADD, list, Imm(4))
	p.Emit(ADD, to, Imm(4*c.Cols))
	p.Emit(DEC, n)
	p.Emit(JNE, last)
	p.Bind(done)
	p.Emit(RET)
	return p, nil
}
