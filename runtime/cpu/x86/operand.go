package x86

import "fmt"

// Kind is which file a register belongs to and how much of it is meant.
type Kind uint8

const (
	NoKind Kind = iota
	GP8
	GP16
	GP32
	GP64
	XMM
	YMM
	ZMM
	Mask
)

// Class is a register file.
type Class uint8

const (
	NoClass Class = iota
	General
	Vector
	Masks
)

var kinds = [...]struct {
	class Class
	bits  int
}{
	GP8: {General, 8}, GP16: {General, 16}, GP32: {General, 32}, GP64: {General, 64},
	XMM: {Vector, 128}, YMM: {Vector, 256}, ZMM: {Vector, 512}, Mask: {Masks, 64},
}

// Class tells which file registers of a kind belong to.
func (k Kind) Class() Class { return kinds[k].class }

// Bits is the width of a register of the kind.
func (k Kind) Bits() int { return kinds[k].bits }

// Reg is a register as an operand: its file, its number, and how much of it is meant.
// The zero value is no register.
type Reg uint32

// NoReg is no register.
const NoReg Reg = 0

const virtual Reg = 1 << 23

func reg(k Kind, n int) Reg { return Reg(k)<<24 | Reg(n) }

// X, Y and Z are the low 128, 256 and all 512 bits of vector register n; K is mask
// register n.
func X(n int) Reg { return reg(XMM, n) }
func Y(n int) Reg { return reg(YMM, n) }
func Z(n int) Reg { return reg(ZMM, n) }
func K(n int) Reg { return reg(Mask, n) }

// The general registers, all 64 bits of them.
const (
	RAX = Reg(GP64)<<24 + iota
	RCX
	RDX
	RBX
	RSP
	RBP
	RSI
	RDI
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
)

// Kind tells which file r belongs to and how much of it is meant.
func (r Reg) Kind() Kind { return Kind(r >> 24) }

// Class tells which file r belongs to.
func (r Reg) Class() Class { return r.Kind().Class() }

// Num is the register's number in its file, or among the virtual registers.
func (r Reg) Num() int { return int(r & (virtual - 1)) }

// Virtual tells whether the register is still to be given a real one.
func (r Reg) Virtual() bool { return r&virtual != 0 }

// As is the same register, read or written at another width.
func (r Reg) As(k Kind) Reg { return r&(1<<24-1) | Reg(k)<<24 }

// whole is the register at the width by which it is told from others.
func (r Reg) whole() Reg {
	switch r.Class() {
	case General:
		return r.As(GP64)
	case Vector:
		return r.As(ZMM)
	}
	return r
}

// K is r where the mask is set; elsewhere r keeps what it has.
func (r Reg) K(mask Reg) Masked { return Masked{Reg: r, Mask: mask} }

// Z is r where the mask is set, and zero elsewhere.
func (r Reg) Z(mask Reg) Masked { return Masked{Reg: r, Mask: mask, Zero: true} }

// Masked is a destination of which only the elements of a mask are written.
type Masked struct {
	Reg  Reg
	Mask Reg
	Zero bool // the others become zero
}

// Mem is an operand in memory. How much of it is meant follows from the instruction.
type Mem struct {
	Base, Index Reg   // either may be missing; Index may be a vector (gather, scatter)
	Scale       uint8 // 1, 2, 4 or 8; 0 counts as 1
	Disp        int64 // what fits 32 bits has an encoding
	Bcast       bool  // one element, repeated
	Mask        Reg   // a store writes the elements of the mask
	sym         sym   // in place of Base and Index: relative to the instruction pointer
}

// sym is a place in the code or its constants: 0 none, n > 0 constant n-1, n < 0 label -n-1.
type sym int32

// At is the memory at base + disp.
func At(base Reg, disp int) Mem { return Mem{Base: base, Disp: int64(disp)} }

// AtIndex is the memory at base + index*scale + disp.
func AtIndex(base, index Reg, scale, disp int) Mem {
	return Mem{Base: base, Index: index, Scale: uint8(scale), Disp: int64(disp)}
}

// Plus is the memory d bytes further on.
func (m Mem) Plus(d int) Mem { m.Disp += int64(d); return m }

// B is one element of memory, repeated over the vector.
func (m Mem) B() Mem { m.Bcast = true; return m }

// K is the elements of memory that a mask names.
func (m Mem) K(mask Reg) Mem { m.Mask = mask; return m }

// Imm is a number that stands in the instruction.
type Imm int64

// Label is a place in a program; [Prog.Label] makes one.
type Label int32

// Operand is a [Reg], [Masked], [Mem], [Imm] or [Label].
type Operand interface{ operand() }

func (Reg) operand()    {}
func (Masked) operand() {}
func (Mem) operand()    {}
func (Imm) operand()    {}
func (Label) operand()  {}

var generalNames = [16][4]string{
	{"al", "ax", "eax", "rax"}, {"cl", "cx", "ecx", "rcx"}, {"dl", "dx", "edx", "rdx"}, {"bl", "bx", "ebx", "rbx"},
	{"spl", "sp", "esp", "rsp"}, {"bpl", "bp", "ebp", "rbp"}, {"sil", "si", "esi", "rsi"}, {"dil", "di", "edi", "rdi"},
}

// String is the register's name in Intel's syntax; a virtual one is %n.
func (r Reg) String() string {
	k, n := r.Kind(), r.Num()
	if r.Virtual() {
		return fmt.Sprintf("%%%s%d", [...]string{GP8: "b", GP16: "w", GP32: "d", GP64: "r", XMM: "x", YMM: "y", ZMM: "z", Mask: "k"}[k], n)
	}
	switch k {
	case XMM, YMM, ZMM:
		return fmt.Sprintf("%cmm%d", "xyz"[k-XMM], n)
	case Mask:
		return fmt.Sprintf("k%d", n)
	case GP8, GP16, GP32, GP64:
		if n < 8 {
			return generalNames[n][k-GP8]
		}
		return fmt.Sprintf("r%d%s", n, [...]string{"b", "w", "d", ""}[k-GP8])
	}
	return "none"
}
