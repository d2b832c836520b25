package kernel

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Kernel is a loop program over buffers. A call computes a box: a range of each of the
// loops in Ranges. Boxes may be computed in any order and at the same time.
type Kernel struct {
	Name        string
	Lanes       int        // of every vector
	Buffers     []*Buffer  // whose addresses a call gives
	Sizes       []Size     // numbers that a call gives
	Ranges      []sym.Expr // extents of the loops that a call has a range of, the outermost first
	VectorRange bool       // the last range is gone over by vectors
	Inside      int        // the loop of range Inside-1 is inside of that of the vectors; 0: none is
	Group       int        // so many vectors compute a piece together, each all of it that depends on OpVector; 0: one
	MayFail     bool       // there is an OpMust: what a call that fails has written means nothing
	Body        *Block

	Checks []Check    // what must hold of sizes
	Loops  []sym.Expr // extents of inner loops, of which none may be empty
	Steps  []int64    // sizes that lie between lanes, whose addresses are to fit 32 bits
	Work   Work       // of a point of the box
}

// Work is about what computing a point of the box takes: so many turns of inner loops, each
// as long as its extent says, with so many operations on vectors.
type Work struct {
	Once   int
	Passes []PassWork
}

// PassWork is a loop nest inside of a point: so many operations for each vector of the
// innermost loop.
type PassWork struct {
	Extents []sym.Expr // of the loops around
	Vector  sym.Expr
	Ops     int
}

// Buffer is memory that a kernel reads or writes.
type Buffer struct {
	Of      *ir.Buffer // of the program; what is written of it, or read
	DType   tensor.DType
	Len     sym.Expr // elements
	Scratch bool     // a temporary of one point of the box, which no other sees; the vectors of a group share it
	Written bool
	Base    *ir.Buffer // what a scatter puts its updates onto: the buffer holds that before; nil: it holds anything
	// Shares are buffers that may lie at the same address, if this one is written: they
	// are read where it is written, and before.
	Shares []*Buffer
}

// MayShare says whether another buffer may lie at the same address.
func (b *Buffer) MayShare(o *Buffer) bool {
	return slices.Contains(b.Shares, o) || slices.Contains(o.Shares, b)
}

// Size is a number that a call gives: an expression over the program's symbols.
type Size struct {
	Expr sym.Expr
	Kind Kind // Int; F32 or F64: rounded to that; Divisor: how to divide by it
}

// Check is a condition on sizes: the constant and the terms stay within 0 .. Dim-1.
type Check struct {
	Const sym.Expr
	Terms []Term
	Dim   sym.Expr
	Why   string
}

// Term is a coefficient for the positions 0 .. Extent-1.
type Term struct{ Coef, Extent sym.Expr }

// Kind is what a value is. Int and Addr are single; all others are vectors of as many lanes as
// the kernel has. A fragment is a matrix that the lanes of a vector hold together; which lane has which
// elements is the affair of who prints the kernel.
type Kind uint8

const (
	None Kind = iota // a store, a loop
	Int              // one integer of 64 bits
	Addr             // the address of an element of Buf
	F32
	I32
	Mask // a truth value in each lane
	F64
	I64
	Divisor // of sizes alone: see OpQuo
	FragA   // a fragment of 16 x 16, as the buffer that it is loaded from has them: f16 or bf16
	FragB   // of 16 x 8
	FragC   // of 16 x 8, of f32
)

var kindNames = [...]string{"", "int", "addr", "f32", "i32", "mask", "f64", "i64", "divisor", "fragment a", "fragment b", "fragment c"}

func (k Kind) String() string { return kindNames[k] }

// Wide says whether lanes have 64 bits.
func (k Kind) Wide() bool { return k == F64 || k == I64 }

// Fragment is how many rows and columns a fragment has; 0: it is none.
func (k Kind) Fragment() (rows, columns int) {
	switch k {
	case FragA:
		return 16, 16
	case FragB, FragC:
		return 16, 8
	}
	return 0, 0
}

// Op is what a value computes.
type Op uint8

const (
	OpConst Op = iota // N, or the bits N in each lane
	OpSize            // Sizes[N]; F32: in each lane
	OpLo              // the start of range N
	OpHi              // the end of range N
	OpVar             // the position in a loop
	OpCarry           // what a loop carries, in its body
	OpEnd             // what it has carried when it ends: carry N
	OpBase            // the first element of Buf
	OpIndex           // Args[0] and Args[1] elements on
	OpLoad            // Args[0] and Args[1] elements on, as Access says, converted to the kind; Args[2], a mask: zero in other lanes, which read nothing
	OpStore           // Args[2] there; Args[3], a mask: other lanes store nothing
	OpLoop
	OpMust  // the call has failed where a lane of the mask is not set
	OpClamp // Args[0] where that is from 0 up to below Args[1], else 0
	OpLane  // an int and the number of the lane
	OpSplat // an int in each lane
	OpQuo   // Args[0] divided by Sizes[N]: Args[0] is from 0 up to below 2^31, the size from 1 to 2^31

	OpAdd
	OpSub
	OpMul
	OpDiv
	OpFma // Args[0]*Args[1] + Args[2], rounded once
	OpNeg
	OpAbs
	OpSqrt
	OpLesser  // Args[0] < Args[1] ? Args[0] : Args[1]
	OpGreater // Args[0] > Args[1] ? Args[0] : Args[1]
	OpFloor
	OpCeil
	OpRound // half to even
	OpTrunc

	OpAnd // bits; masks
	OpOr
	OpXor
	OpNot
	OpShl // by N
	OpShr // by N, zeros come in
	OpSar // by N, the sign comes in

	OpEq // make a mask; of floats nothing is in order with NaN
	OpNe
	OpLt
	OpLe
	OpGt
	OpGe
	OpBelow  // Args[0] is from 0 up to below Args[1]
	OpSelect // Args[0] ? Args[1] : Args[2]

	OpBits  // the same bits as another kind: f32 and i32, f64 and i64
	OpFloat // the nearest float to an integer
	OpWiden // an f64 of an f32, an i64 of an i32
	OpShort // the nearest f32 to an f64; the low half of an i64
	OpCut   // a float, towards zero, as the nearest i64; 0 of NaN
	OpNear  // the nearest i32 to an f32, half to even; 1<<31 where there is none
	OpHalf  // the nearest f16, half to even
	OpScale // Args[0] * 2^floor(Args[1]), rounded once; Args[1] is an f32 from -300 to 300; Args[2], a mask: zero in other lanes
	OpRoot  // Roots[k], k being the lowest four bits of Args[0], an i32
	OpSwap  // lane l is lane l^N of Args[0]

	OpMma   // Args[0]*Args[1] + Args[2], of fragments: each element is one sum in f64, of Args[2] and then the products in order, rounded once
	OpFetch // Args[0] and Args[1] elements on, wherever that is, may be asked for soon: nothing depends on it

	OpVector  // which vector of the group this is
	OpBarrier // what lanes have stored before is what they load behind; N is 1: those of all vectors of the group

	opUse // what stands there is used: of the verifier

	numOps
)

var opNames = [numOps]string{"const", "size", "lo", "hi", "var", "carry", "end", "base", "index", "load", "store", "loop",
	"must", "clamp", "lane", "splat", "quo", "add", "sub", "mul", "div", "fma", "neg", "abs", "sqrt", "lesser", "greater", "floor", "ceil", "round", "trunc",
	"and", "or", "xor", "not", "shl", "shr", "sar", "eq", "ne", "lt", "le", "gt", "ge", "below", "select",
	"bits", "float", "widen", "short", "cut", "near", "half", "scale", "root", "swap", "mma", "fetch", "vector", "barrier", "use"}

func (o Op) String() string { return opNames[o] }

// Access says how the lanes of a load or store lie.
type Access uint8

const (
	Contiguous Access = iota // one behind the other
	One                      // a load gives one element to all lanes, a store takes that of lane 0; without a mask
	Strided                  // N is the number of a size: so many elements from lane to lane
	Listed                   // Args[1] is a vector: so many elements on in each lane
	Rows                     // of a fragment in scratch: N elements from row to row, and those of a row lie one behind the other
	Columns                  // the same with rows for columns
)

var accessNames = [...]string{"", "one", "strided", "listed", "rows", "columns"}

// Value is what an operation gives: each is computed once, before it is used.
type Value struct {
	Op     Op
	Kind   Kind
	Args   []*Value
	N      int64
	Buf    *Buffer // OpBase, OpIndex, OpLoad, OpStore
	Access Access
	Loop   *Loop    // OpLoop; OpVar, OpCarry and OpEnd: whose they are
	Within []Within // OpLoad, OpStore: what the mask makes sure of
}

// Within says that lanes of a load's mask have Index from 0 up to below Dim (it is a part of the mask that
// OpBelow says so), and that the address has it as Step times it.
type Within struct {
	Index, Below *Value
	Step         sym.Expr
}

// Block is values in the order in which they are computed. Constants, sizes and bases stand in
// none: they are there from the start.
type Block struct{ List []*Value }

// Loop runs its body at positions Lo, Lo+Step, ... below Hi. With Tail, the last turn may be
// shorter than Step: in the lanes at Hi and behind nothing is loaded (they hold zero), nothing
// stored, and what is carried stays. Without, the loop ends before that, at the position End.
type Loop struct {
	Var     *Value
	Lo, Hi  *Value
	Step    int64 // 1, or a multiple of lanes; then positions are those of lane 0
	Tail    bool
	Carries []Carry
	Body    *Block
	End     *Value   // an Int
	Extent  sym.Expr // what Hi is at most
}

// Carry is a value that goes from turn to turn.
type Carry struct {
	Init *Value // before
	In   *Value // in the body
	Out  *Value // what In is in the next turn
	End  *Value // behind the loop
}

// HasScratch says whether the kernel has temporaries in memory.
func (k *Kernel) HasScratch() bool {
	return slices.ContainsFunc(k.Buffers, func(b *Buffer) bool { return b.Scratch })
}
