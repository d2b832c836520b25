package x86

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Inst is an instruction with its operands; or, without Op, a label or an alignment.
type Inst struct {
	Op      *Op
	Args    []Operand
	Comment string

	align int // the next instruction's address is to be a multiple of it
}

// Prog is a list of instructions in the making, with its labels and constants.
type Prog struct {
	Name  string
	Insts []Inst
	// Scratch is how many bytes the code needs behind the address that it gets in
	// [ScratchBase].
	Scratch int

	labels  []string
	consts  []constant
	virtual int
}

// constant is bytes that lie behind the code.
type constant struct {
	data  []byte
	align int
}

// NewProg starts a program. Its name is what listings and profilers show.
func NewProg(name string) *Prog { return &Prog{Name: name, Insts: make([]Inst, 0, 64)} }

// Emit appends an instruction. What can not be encoded is told by Assemble.
func (p *Prog) Emit(op *Op, args ...Operand) *Inst {
	p.Insts = append(p.Insts, Inst{Op: op, Args: args})
	return &p.Insts[len(p.Insts)-1]
}

// Note sets the comment that a listing shows behind the instruction.
func (i *Inst) Note(format string, args ...any) { i.Comment = fmt.Sprintf(format, args...) }

// Comment appends a line of comment.
func (p *Prog) Comment(format string, args ...any) {
	p.Insts = append(p.Insts, Inst{Comment: fmt.Sprintf(format, args...)})
}

// Label makes a label, which [Prog.Bind] gives its place. The name is for people.
func (p *Prog) Label(name string) Label {
	p.labels = append(p.labels, name)
	return Label(len(p.labels) - 1)
}

// Bind puts a label here.
func (p *Prog) Bind(l Label) { p.Insts = append(p.Insts, Inst{Args: []Operand{l}}) }

// Align fills up with instructions that do nothing, to a multiple of n bytes.
func (p *Prog) Align(n int) { p.Insts = append(p.Insts, Inst{align: n}) }

// New makes a virtual register.
func (p *Prog) New(k Kind) Reg {
	p.virtual++
	return reg(k, p.virtual) | virtual
}

// Const is the memory of a constant: the bytes, aligned to align (a power of two). Equal ones
// are kept once.
func (p *Prog) Const(data []byte, align int) Mem {
	for i := range p.consts {
		if c := &p.consts[i]; bytes.Equal(c.data, data) {
			c.align = max(c.align, align)
			return Mem{sym: sym(i + 1)}
		}
	}
	p.consts = append(p.consts, constant{bytes.Clone(data), align})
	return Mem{sym: sym(len(p.consts))}
}

// F32 is the memory of constant numbers.
func (p *Prog) F32(v ...float32) Mem {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return p.Const(b, alignment(len(b)))
}

// U32 is the memory of constant numbers.
func (p *Prog) U32(v ...uint32) Mem {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return p.Const(b, alignment(len(b)))
}

// alignment is what a constant of n bytes wants: its own size, up to a cache line.
func alignment(n int) int {
	a := 1
	for a < n && a < lineBytes {
		a *= 2
	}
	return a
}

// lineBytes is a line of the cache, and what code is aligned to.
const lineBytes = 64
