package x86

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"
)

// Where things lie in the argument block of random programs: a table that gathers
// read, values to start with, and what registers hold in the end.
const tableWords, blockBytes = 64, 1 << 14

// randomProgram draws a program with loops, branches, masks, gathers and more values than
// there are registers, or fewer.
func randomProgram(r *rand.Rand, f Features) *Prog {
	p := NewProg("random")
	wide := []Kind{YMM}
	if f&V4 != 0 {
		wide = []Kind{ZMM, ZMM, YMM}
	}
	pool := func(kinds []Kind, n int) (rs []Reg) {
		for range n {
			rs = append(rs, p.New(kinds[r.IntN(len(kinds))]))
		}
		return rs
	}
	pressure := []int{1, 4, 12}[r.IntN(3)]
	general := pool([]Kind{GP64}, 2+r.IntN(2*pressure))
	vectors := pool(wide, 2+r.IntN(4*pressure))
	var masks []Reg
	if f&V4 != 0 {
		masks = pool([]Kind{Mask}, 1+r.IntN(pressure))
	}
	g := func() Reg { return general[r.IntN(len(general))] }
	vec := func() Reg { return vectors[r.IntN(len(vectors))] }
	k := func() Reg { return masks[r.IntN(len(masks))] }
	word := func() Mem { return At(ArgBase, 4*r.IntN(tableWords-16)) }
	for _, x := range general {
		p.Emit(MOV, x, Imm(r.Uint32()>>1))
	}
	for _, x := range vectors {
		if r.IntN(3) == 0 {
			p.Emit(VPBROADCASTD, x, p.U32(r.Uint32()))
		} else {
			p.Emit(VMOVUPS, x, word())
		}
	}
	for _, x := range masks {
		p.Emit(KMOVQ, x, g())
	}
	lanes := []*Op{VPADDD, VPSUBD, VPMULLD, VPMAXSD, VPMINUD, VPSLLVD}
	one := func() {
		switch n := r.IntN(15); {
		case n == 12: // registers that the instruction names
			d := p.New(GP64)
			p.Emit(MOV, d, Imm(1+r.IntN(1000)))
			p.Emit(MOV, RAX, g())
			p.Emit(CQO)
			p.Emit(IDIV, d)
			p.Emit(MOV, g(), RAX)
			p.Emit(MOV, g(), RDX)
		case n == 13:
			hi, lo := p.New(GP64), p.New(GP64)
			p.Emit(MOV, RDX, g())
			p.Emit(MULX, hi, lo, g())
			p.Emit(ADD, g(), hi)
			p.Emit(XOR, g(), lo)
		case n == 14: // parts of registers
			d, a := g(), g()
			p.Emit(CMP, a, g())
			p.Emit([]*Op{SETL, SETE}[r.IntN(2)], d.As(GP8))
			p.Emit([]*Op{ADD, IMUL}[r.IntN(2)], g().As(GP32), g().As(GP32))
		case n < 5: // lanes, all of one width
			d := vec()
			a, b := Operand(vec().As(d.Kind())), Operand(vec().As(d.Kind()))
			if r.IntN(4) == 0 {
				b = word()
				if f&V4 != 0 && r.IntN(2) == 0 {
					b = word().B()
				}
			}
			dst := Operand(d)
			if f&V4 != 0 && r.IntN(3) == 0 {
				dst = []Operand{d.K(k()), d.Z(k())}[r.IntN(2)]
			}
			p.Emit(lanes[r.IntN(len(lanes))], dst, a, b)
		case n == 5:
			p.Emit([]*Op{ADD, SUB, AND, OR, XOR, IMUL}[r.IntN(6)], g(), g())
		case n == 6:
			p.Emit(LEA, g(), AtIndex(g(), g(), 1<<r.IntN(4), r.IntN(1000)-500))
		case n == 7:
			p.Emit([]*Op{MOV, POPCNT}[r.IntN(2)], g(), g())
		case n == 8: // copies, whole and not
			d := vec()
			p.Emit(VMOVUPS, d, vec().As(d.Kind()))
		case n == 9 && f&V4 != 0:
			a := vec()
			dst := Operand(k())
			if r.IntN(2) == 0 {
				dst = k().K(k())
			}
			p.Emit(VPCMPUD, dst, a, vec().As(a.Kind()), Imm(1))
			p.Emit([]*Op{KANDQ, KXORQ}[r.IntN(2)], k(), k(), k())
		case n == 9:
			d := vec()
			p.Emit(VPCMPEQD, d, vec().As(d.Kind()), vec().As(d.Kind()))
			p.Emit(VPBLENDVB, vec(), vec(), vec(), vec())
		case n == 10: // a gather from the table: indices are cut to its size
			d := vec()
			index := p.New(d.Kind())
			if f&V4 != 0 {
				p.Emit(VPMINUD, index, vec().As(d.Kind()), p.U32(tableWords-1).B())
				p.Emit(VPGATHERDD, d.K(k()), AtIndex(ArgBase, index, 4, 0))
			} else {
				p.Emit(VPBROADCASTD, index, p.U32(tableWords-1))
				p.Emit(VPMINUD, index, index, vec())
				m := p.New(d.Kind())
				p.Emit(VMOVUPS, m, vec())
				p.Emit(VPGATHERDD, d, AtIndex(ArgBase, index, 4, 0), m)
			}
		default:
			d := vec()
			op := VPXOR
			if f&V4 != 0 {
				op = VPXORD
			}
			p.Emit(op, d, d, d)
		}
	}
	var block func(depth int)
	block = func(depth int) {
		for range 1 + r.IntN(6) {
			one()
		}
		if depth == 0 {
			return
		}
		switch r.IntN(3) {
		case 0: // a loop, with values carried around
			n := p.New(GP64)
			top := p.Label("loop")
			p.Emit(MOV, n, Imm(1+r.IntN(4)))
			p.Bind(top)
			block(depth - 1)
			p.Emit(DEC, n)
			p.Emit(JNE, top)
		case 1: // a branch
			other, end := p.Label("else"), p.Label("end")
			p.Emit(CMP, g(), g())
			p.Emit([]*Op{JE, JNE, JL, JGE, JB, JAE}[r.IntN(6)], other)
			block(depth - 1)
			if r.IntN(2) == 0 {
				p.Emit(JMP, end)
			}
			p.Bind(other)
			block(depth - 1)
			p.Bind(end)
		}
		block(depth - 1)
	}
	block(1 + r.IntN(4))
	at := 4 * tableWords
	for _, x := range vectors {
		p.Emit(VMOVUPS, At(ArgBase, at), x)
		at += 64
	}
	for _, x := range general {
		p.Emit(MOV, At(ArgBase, at), x)
		at += 8
	}
	for _, x := range masks {
		p.Emit(KMOVQ, At(ArgBase, at), x)
		at += 8
	}
	p.Emit(RET)
	return p
}

func table(r *rand.Rand) []byte {
	b := make([]byte, blockBytes)
	for i := range 4 * tableWords {
		b[i] = byte(r.Uint32())
	}
	return b
}

// tiers are what tests of code run on, where the processor has it.
var tiers = []Features{V3, V3 | V4}

// checkAllocation allocates a random program, and holds the machine code against the
// evaluator.
func checkAllocation(t *testing.T, seed uint64, f Features) (spills int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	p := randomProgram(r, f)
	want := table(r)
	got, again := bytes.Clone(want), bytes.Clone(want)
	if err := evaluate(p, want); err != nil {
		t.Fatalf("seed %d: the evaluator: %v", seed, err)
	}
	q, err := Allocate(p, f)
	if err != nil {
		if strings.Contains(err.Error(), "bytes of scratch") {
			return 0
		}
		t.Fatalf("seed %d, %s: %v", seed, f, err)
	}
	if err := evaluate(q, again); err != nil || !bytes.Equal(again, want) {
		t.Fatalf("seed %d, %s: with real registers the evaluator gives something else: %v", seed, f, err)
	}
	c, err := Assemble(q, f)
	if err != nil {
		t.Fatalf("seed %d, %s: %v", seed, f, err)
	}
	if callable && f&^Processor() == 0 {
		var a Arena
		fs, err := a.Load(c)
		if err != nil {
			t.Fatal(err)
		}
		fs[0].Call(unsafe.Pointer(&got[0]))
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d, %s: machine code and evaluator differ\n%s", seed, f, c.Listing())
		}
	}
	for i := range q.Insts {
		if strings.HasPrefix(q.Insts[i].Comment, "spills") {
			spills++
		}
	}
	return spills
}

// TestAllocate runs random programs on both tiers.
func TestAllocate(t *testing.T) {
	n := uint64(400)
	if testing.Short() {
		n = 50
	}
	for _, f := range tiers {
		if f&^Processor() != 0 || !callable {
			t.Logf("code for %s does not run here: allocations are evaluated, and not executed", f)
		}
		spills := 0
		for seed := range n {
			spills += checkAllocation(t, seed, f)
		}
		if spills == 0 {
			t.Errorf("%s: nothing was ever spilled", f)
		}
		t.Logf("%s: %d programs, %d stores of spilled registers", f, n, spills)
	}
}

func FuzzAllocate(f *testing.F) {
	f.Add(uint64(1), false)
	f.Fuzz(func(t *testing.T, seed uint64, avx512 bool) {
		tier := V3
		if avx512 {
			tier |= V4
		}
		checkAllocation(t, seed, tier)
	})
}

// TestReplay: the check of allocations finds a wrong register wherever it makes a
// difference.
func TestReplay(t *testing.T) {
	caught, harmless := 0, 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := randomProgram(r, V3|V4)
		a := &allocator{from: p, f: V3 | V4, scratch: true}
		if err := a.run(); err != nil {
			t.Fatal(err)
		}
		if err := a.replay(); err != nil {
			t.Fatal(err)
		}
		start := table(r)
		want := bytes.Clone(start)
		steps, err := evaluateFor(p, want, 1e6)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			i := r.IntN(len(a.work.Insts))
			in := &a.work.Insts[i]
			if in.Op == nil || len(in.Args) == 0 {
				continue
			}
			was := in.Args
			in.Args = make([]Operand, len(was))
			at := r.IntN(len(was))
			changed := false
			for j := range was {
				in.Args[j] = was[j]
				if j == at {
					in.Args[j] = substitute(was[j], func(x Reg) Reg {
						n := order[x.Class()]
						y := real(n[r.IntN(len(n))]).As(x.Kind())
						changed = changed || y != x
						return y
					})
				}
			}
			if _, err := in.Op.find(in.Args, a.f); err == nil && changed {
				err := a.replay()
				got := bytes.Clone(start)
				_, failed := evaluateFor(a.work, got, 10*steps)
				same := failed == nil && bytes.Equal(got, want)
				switch {
				case err != nil:
					caught++
				case same:
					harmless++
				default:
					t.Errorf("seed %d: %s in place of %s was not found", seed, in.String(), (&Inst{Op: in.Op, Args: was}).String())
				}
			}
			in.Args = was
		}
	}
	if caught < 500 {
		t.Errorf("%d wrong registers were caught, %d made no difference", caught, harmless)
	}
	t.Logf("%d wrong registers caught, %d made no difference", caught, harmless)
}

// TestAllocateErrors: what can not be allocated is told.
func TestAllocateErrors(t *testing.T) {
	build := func(f func(p *Prog)) error {
		p := NewProg("bad")
		f(p)
		_, err := Allocate(p, V3|V4)
		return err
	}
	for want, f := range map[string]func(p *Prog){
		"read where it may not have been written: [virtual register 1]": func(p *Prog) {
			p.Emit(ADD, p.New(GP64), Imm(1))
			p.Emit(RET)
		},
		"read where it may not have been written: [rbx]": func(p *Prog) {
			p.Emit(ADD, RBX, Imm(1))
			p.Emit(RET)
		},
		"the end can be reached": func(p *Prog) { p.Emit(MOV, p.New(GP64), Imm(1)) },
		"the label x stands nowhere": func(p *Prog) {
			p.Emit(JNE, p.Label("x"))
			p.Emit(RET)
		},
		"the program itself writes rsi": func(p *Prog) {
			p.Emit(MOV, RSI, Imm(1))
			var v []Reg
			for range 20 {
				v = append(v, p.New(GP64))
				p.Emit(MOV, v[len(v)-1], At(ArgBase, 0))
			}
			for _, r := range v {
				p.Emit(MOV, At(ArgBase, 0), r)
			}
			p.Emit(RET)
		},
	} {
		if err := build(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestConstantsAreMadeAgain: a constant that finds no register takes no scratch.
func TestConstantsAreMadeAgain(t *testing.T) {
	p := NewProg("constants")
	var v []Reg
	for i := range 40 {
		v = append(v, p.New(ZMM))
		p.Emit(VPBROADCASTD, v[i], p.U32(uint32(i)))
	}
	sum := p.New(ZMM)
	p.Emit(VPXORD, sum, sum, sum)
	for i := range v {
		p.Emit(VPADDD, sum, sum, v[i])
	}
	p.Emit(VMOVUPS, At(ArgBase, 0), sum)
	p.Emit(RET)
	q, err := Allocate(p, V3|V4)
	if err != nil || q.Scratch != 0 {
		t.Fatalf("%v, %d bytes of scratch", err, q.Scratch)
	}
	got := make([]byte, 64)
	if err := evaluate(q, got); err != nil || got[0] != 780%256 || got[1] != 780/256 {
		t.Errorf("%v, %v", got[:4], err)
	}
}

// BenchmarkAllocate is the cost of an instruction, with its replay.
func BenchmarkAllocate(b *testing.B) {
	p := randomProgram(rand.New(rand.NewPCG(7, 0)), V3|V4)
	for b.Loop() {
		if _, err := Allocate(p, V3|V4); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(p.Insts)), "ns/instruction")
	b.ReportMetric(float64(len(p.Insts)), "instructions")
}
