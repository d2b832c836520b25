package x86

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// jumpy is a program of loops and jumps over bodies of every length around what a short
// jump reaches.
func jumpy(r *rand.Rand, blocks int) *Prog {
	p := NewProg("jumpy")
	labels := make([]Label, blocks)
	for i := range labels {
		labels[i] = p.Label(fmt.Sprintf("b%d", i))
	}
	jumps := []*Op{JMP, JB, JAE, JE, JNE, JBE, JA, JS, JNS, JP, JNP, JL, JGE, JLE, JG}
	for i := range labels {
		if r.IntN(4) == 0 {
			p.Align(1 << r.IntN(6))
		}
		p.Bind(labels[i])
		for range r.IntN(8) {
			p.Emit(VADDPS, Z(r.IntN(32)), Z(r.IntN(32)), p.F32(float32(r.IntN(9))).B())
		}
		p.Emit(CMP, R9, Imm(r.IntN(300)))
		p.Emit(jumps[r.IntN(len(jumps))], labels[r.IntN(blocks)])
		p.Emit(jumps[r.IntN(len(jumps))], labels[min(i+1+r.IntN(4), blocks-1)])
	}
	p.Emit(VMOVUPS, Z(0), p.F32(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16))
	p.Emit(MOVZX, RAX.As(GP32), p.Const([]byte{7}, 1))
	p.Emit(RET)
	return p
}

// TestListing has GNU as assemble whole listings: labels, jumps of both lengths, alignment and
// constants come out the same.
func TestListing(t *testing.T) {
	binutils(t)
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 12 {
		c, err := Assemble(jumpy(r, 4+6*n), allFeatures)
		if err != nil {
			t.Fatal(err)
		}
		want := assemble(t, c.Listing())
		if !bytes.Equal(c.Bytes, want) {
			at := 0
			for at < len(want) && at < len(c.Bytes) && c.Bytes[at] == want[at] {
				at++
			}
			t.Fatalf("program %d: %d bytes, as made %d; they differ from byte %d on\n%s", n, len(c.Bytes), len(want), at, c.Listing())
		}
	}
}

// TestJumpLengths holds short and near jumps at the exact distance where one becomes the
// other, in both directions.
func TestJumpLengths(t *testing.T) {
	for _, c := range []struct{ body, forward, backward int }{
		{124, 2, 2}, {126, 2, 2}, {127, 2, 5}, {128, 5, 5}, {400, 5, 5},
	} {
		for _, back := range []bool{false, true} {
			p := NewProg("jump")
			l := p.Label("l")
			if back {
				p.Bind(l)
			} else {
				p.Emit(JMP, l)
			}
			for range c.body {
				p.Emit(RET)
			}
			want := c.forward
			if back {
				p.Emit(JMP, l)
				want = c.backward
			} else {
				p.Bind(l)
			}
			code, err := Assemble(p, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(code.Bytes) - c.body; got != want {
				t.Errorf("%d bytes, back=%v: the jump has %d bytes, want %d", c.body, back, got, want)
			}
		}
	}
}

// TestConstants: equal constants are kept once, each is aligned as it asked for.
func TestConstants(t *testing.T) {
	p := NewProg("constants")
	p.Emit(VADDSS, X(0), X(1), p.F32(1))
	p.Emit(VADDPS, Z(0), Z(1), p.F32(2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2))
	p.Emit(VADDSS, X(0), X(1), p.F32(1))
	c, err := Assemble(p, V3|V4)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.consts) != 2 || c.consts[1]%64 != 0 || c.consts[0]%4 != 0 || len(c.Bytes) != c.consts[1]+64 {
		t.Errorf("constants lie at %v of %d bytes", c.consts, len(c.Bytes))
	}
}

// TestRefusals: what can not be encoded is an error that says why, never other bytes.
func TestRefusals(t *testing.T) {
	p := NewProg("")
	for _, c := range []struct {
		op   *Op
		args []Operand
		f    Features
		want string
	}{
		{VADDPS, []Operand{Z(0), Z(1), Z(2)}, V3, "it needs v4, and code is made for v3"},
		{VADDPS, []Operand{X(16), X(1), X(2)}, V3, "it needs v4"},
		{VPDPBUSD, []Operand{Z(0), Z(1), Z(2)}, V3 | V4, "it needs v4 vnni"},
		{VADDPS, []Operand{Z(0), Y(1), Z(2)}, allFeatures, "no form takes these operands; there is: v{z}, v, v/m/b32"},
		{KANDW, []Operand{K(1), K(8), K(2)}, allFeatures, "no form"},
		{VPBROADCASTD, []Operand{Z(1), reg(GP32, 16)}, allFeatures, "no form"},
		{VMOVUPS, []Operand{Z(1), At(R15+1, 0)}, allFeatures, "no form"},
		{VMOVUPS, []Operand{Z(1), AtIndex(RAX, R15+1, 1, 0)}, allFeatures, "no form"},
		{VMOVUPS, []Operand{Z(1), At(RAX, 1<<31-64).Plus(64)}, allFeatures, "no form"},
		{VMOVUPS, []Operand{Z(1), Mem{Base: RAX, sym: 1}}, allFeatures, "no form"},
		{VGATHERDPS, []Operand{Z(0).K(K(1)), AtIndex(RAX, Z(32), 4, 0)}, allFeatures, "no form"},
		{VADDPS, []Operand{Z(0), Z(1)}, allFeatures, "no form"},
		{VADDPS, []Operand{Z(32), Z(1), Z(2)}, allFeatures, "no form"},
		{VADDPS, []Operand{Z(0).K(K(0)), Z(1), Z(2)}, allFeatures, "no form"},
		{VADDPS, []Operand{Z(0).K(RAX), Z(1), Z(2)}, allFeatures, "no form"},
		{VADDPS, []Operand{Z(0), Z(1), At(RAX, 0).K(K(1))}, allFeatures, "no form"},
		{VMOVUPS, []Operand{Z(0), At(RAX, 0).B()}, allFeatures, "no form"},
		{VMOVUPS, []Operand{At(RAX, 0), At(RBX, 0)}, allFeatures, "no form"},
		{VMOVUPS, []Operand{Z(0), AtIndex(RAX, RSP, 1, 0)}, allFeatures, "no form"},
		{VMOVUPS, []Operand{Z(0), AtIndex(RAX, RBX, 3, 0)}, allFeatures, "no form"},
		{VMOVUPS, []Operand{Z(0), At(RAX.As(GP32), 0)}, allFeatures, "no form"},
		{VMOVUPS, []Operand{Z(0), Mem{Base: RAX, Scale: 4}}, allFeatures, "no form"},
		{VCMPPS, []Operand{K(1).Z(K(2)), Z(0), Z(1), Imm(1)}, allFeatures, "no form"},
		{VGATHERDPS, []Operand{Z(0), AtIndex(RAX, Z(1), 4, 0)}, allFeatures, "no form"},
		{VGATHERDPS, []Operand{Z(1).K(K(1)), AtIndex(RAX, Z(1), 4, 0)}, allFeatures, "different registers"},
		{VGATHERDPS, []Operand{Y(1), AtIndex(RAX, Y(2), 4, 0), Y(1)}, V3, "different registers"},
		{VGATHERDPS, []Operand{Y(0), AtIndex(RAX, Y(16), 4, 0), Y(1)}, allFeatures, "no form"},
		{VPERMPS, []Operand{X(0), X(1), X(2)}, allFeatures, "no form"},
		{ADD, []Operand{RAX, Imm(1 << 40)}, 0, "no form"},
		{ADD, []Operand{RAX, Imm(1<<32 - 1)}, 0, "no form"},
		{ADD, []Operand{RAX, RBX.As(GP32)}, 0, "no form"},
		{SHL, []Operand{RAX, Imm(300)}, 0, "no form"},
		{ADD, []Operand{RAX, p.New(GP64)}, 0, "Allocate comes before Assemble"},
		{JMP, []Operand{Label(5)}, 0, "no label 5"},
	} {
		p := NewProg("refused")
		p.Emit(c.op, c.args...)
		code, err := Assemble(p, c.f)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %q: %v, want %q", p.Insts[0].String(), c.f, err, c.want)
		}
		if code != nil && err != nil {
			t.Errorf("%s: code beside an error", p.Insts[0].String())
		}
	}
	nowhere := NewProg("nowhere")
	nowhere.Emit(JMP, nowhere.Label("x"))
	if _, err := Assemble(nowhere, 0); err == nil || !strings.Contains(err.Error(), "the label x stands nowhere") {
		t.Errorf("a label without a place: %v", err)
	}
	twice := NewProg("twice")
	l := twice.Label("x")
	twice.Bind(l)
	twice.Bind(l)
	if _, err := Assemble(twice, 0); err == nil || !strings.Contains(err.Error(), "stands twice") {
		t.Errorf("a label with two places: %v", err)
	}
}

// TestProgString: a program prints with its virtual registers.
func TestProgString(t *testing.T) {
	p := NewProg("p")
	n, v, k, top := p.New(GP64), p.New(ZMM), p.New(Mask), p.Label("top")
	p.Comment("a loop")
	p.Align(32)
	p.Bind(top)
	p.Emit(VADDPS, v.Z(k), v, AtIndex(ArgBase, n, 4, -64).B()).Note("x")
	p.Emit(MOV, n.As(GP32), Imm(1))
	p.Emit(JNE, top)
	want := `    # a loop
    # to a multiple of 32
.L0_top:
    vaddps %z2{%k3}{z}, %z2, dword ptr [rdi + %r1*4 - 64]{1to16} # x
    mov %d1, 1
    jne .L0_top
`
	if got := p.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// BenchmarkAssemble is the cost of an instruction.
func BenchmarkAssemble(b *testing.B) {
	n := 0
	for b.Loop() {
		p := NewProg("bench")
		top := p.Label("top")
		p.Bind(top)
		for i := range 100 {
			p.Emit(VFMADD231PS, Z(i%32), Z((i+1)%32), AtIndex(RAX, RBX, 4, 64*i))
		}
		p.Emit(JNE, top)
		c, err := Assemble(p, V3|V4)
		if err != nil {
			b.Fatal(err)
		}
		n += len(c.pieces)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/instruction")
}
