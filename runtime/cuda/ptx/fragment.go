package ptx

import (
	"strings"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// Fragments are the matrices of mma.sync.m16n8k16: each lane has some elements in registers, which one operand names
// all. ldmatrix brings them from shared memory in squares of eight rows, each of 16 bytes, whose addresses the lanes give: lane l
// that of row l%8 of square l/8. The squares of a fragment go down its columns, and what memory has the other way round is transposed on
// the way.

// zeros is a fragment of sums of nothing.
const zeros reg = "{0f00000000, 0f00000000, 0f00000000, 0f00000000}"

// list are the registers that an operand names.
func (r reg) list() []string { return strings.Split(strings.Trim(string(r), "{}"), ", ") }

// result takes the registers of a value.
func (e *emitter) result(k kernel.Kind) reg {
	n, c := 4, word
	switch k {
	case kernel.FragA:
	case kernel.FragB:
		n = 2
	case kernel.FragC:
		c = float
	default:
		return e.new(classOf(k))
	}
	list := make([]string, n)
	for i := range list {
		list[i] = string(e.new(c))
	}
	return reg("{" + strings.Join(list, ", ") + "}")
}

// part is what the lane adds to where a fragment lies, in bytes.
type part struct {
	access kernel.Access
	sums   bool // a fragment of sums
	width  int64
}

func (e *emitter) partOf(v *kernel.Value, sums bool) reg {
	p := part{v.Access, sums, v.N}
	r, ok := e.parts[p]
	if !ok {
		r = e.new(integer)
		e.parts[p] = r
		e.order = append(e.order, p)
	}
	return r
}

// fragmentParts makes the parts of lanes.
func (e *emitter) fragmentParts() {
	for _, p := range e.order {
		r := e.parts[p]
		e.note("what the lane adds to where a fragment lies, whose %s lie %d elements apart", p.access, p.width)
		// The row and the column that a lane begins at are some of its bits.
		row := func(mask, shift int, to string) {
			e.ins("shr.u32 %s, %%lane, %d", to, shift)
			e.ins("and.b32 %s, %s, %d", to, to, mask)
		}
		bytes := 2
		if p.sums { // rows l/4, columns 2*(l%4)
			bytes = 4
			row(7, 2, "%row")
			row(3, 0, "%column")
			e.ins("shl.b32 %%column, %%column, 1")
		} else {
			row(7, 0, "%row")
			down, across := 3, 4 // the bits of a lane that say how its square lies: below, and beside
			if p.access == kernel.Columns {
				down, across = across, down
			}
			row(1, down, "%low")
			e.ins("mad.lo.u32 %%row, %%low, 8, %%row")
			row(1, across, "%column")
			e.ins("shl.b32 %%column, %%column, 3")
		}
		e.ins("mad.lo.u32 %%row, %%row, %d, %%column", p.width)
		e.ins("mul.wide.u32 %s, %%row, %d", r, bytes)
	}
}

// fragmentAt is where the lane begins in a fragment; some rows further on is so many bytes.
func (e *emitter) fragmentAt(v *kernel.Value, sums bool) (at reg, disp int64) {
	at, part := e.operand(v.Args[0]), e.partOf(v, sums)
	n := v.Args[1]
	if n.Op != kernel.OpConst {
		panic(unsupported("a fragment that lies at no constant"))
	}
	disp = n.N * int64(v.Buf.DType.Bits()/8)
	key := place{of: v.Args[0], part: part}
	r, ok := e.places[key]
	if !ok {
		r = e.new(integer)
		e.ins("add.s64 %s, %s, %s", r, at, part)
		e.places[key] = r
	}
	return r, disp
}

// loadFragment loads a factor.
func (e *emitter) loadFragment(v *kernel.Value) reg {
	if !e.Shared {
		panic(unsupported("a fragment that is not in shared memory"))
	}
	how := "x4"
	if v.Kind == kernel.FragB {
		how = "x2"
	}
	if (v.Kind == kernel.FragA) != (v.Access == kernel.Rows) { // a register has two of a row of A, of a column of B
		how += ".trans"
	}
	at, disp := e.fragmentAt(v, false)
	r := e.result(v.Kind)
	e.ins("ldmatrix.sync.aligned.m8n8.%s.shared.b16 %s, [%s+%d]", how, r, at, disp)
	return r
}

// storeFragment stores sums.
func (e *emitter) storeFragment(v *kernel.Value) {
	at, disp := e.fragmentAt(v, true)
	r := e.operand(v.Args[2]).list()
	for i := range 2 {
		e.ins("st.%s.v2.f32 [%s+%d], {%s, %s}", e.space(v.Buf), at, disp+int64(i)*8*4*v.N, r[2*i], r[2*i+1])
	}
}

// mma multiplies fragments.
func (e *emitter) mma(v *kernel.Value) reg {
	typ := map[tensor.DType]string{tensor.F16: "f16", tensor.BF16: "bf16"}[v.Args[0].Buf.DType]
	r := e.result(kernel.FragC)
	c := e.operand(v.Args[2])
	if c == zeros {
		c = e.result(kernel.FragC)
		e.move(kernel.FragC, c, zeros)
	}
	e.ins("mma.sync.aligned.m16n8k16.row.col.f32.%s.%s.f32 %s, %s, %s, %s", typ, typ, r, e.operand(v.Args[0]), e.operand(v.Args[1]), c)
	return r
}
