package cpu

import (
	"slices"

	"github.com/pitopt/pitopt/core/interp"
)

// box is a copy of a part of an operand: with zeros where loads are not to take place, and with columns
// of one stride side by side.
type box struct {
	dims   []boxDim
	from   []int64 // where it begins in the operand
	phases int64   // positions of the last dim lie in so many parts, one behind the other: each has every so many of them
	part   int64   // elements of a part
}

// boxDim is a dim of a box.
type boxDim struct {
	size, stride int64 // of the copy
	every        int64 // of so many positions of the operand one is there
	dim, step    int64 // of the operand: positions, elements from one to the next
}

// size is the elements of the copy.
func (b *box) size() int64 {
	n := int64(1)
	for _, d := range b.dims {
		n = times(n, d.size)
	}
	return n
}

// newBox begins a box of an operand with a shape that lies in a tensor of the shape room.
func newBox(shape, room []int64) *box {
	b := &box{dims: make([]boxDim, len(shape)), from: make([]int64, len(shape)), phases: 1}
	step := int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		b.dims[i] = boxDim{size: 1, every: 1, dim: shape[i], step: step}
		step *= room[i]
	}
	return b
}

// layout places dims, whose sizes are known, in the copy.
func (b *box) layout() {
	stride := int64(1)
	for i := len(b.dims) - 1; i >= 0; i-- {
		d := &b.dims[i]
		if i == len(b.dims)-1 {
			b.part = ceilDiv(d.size, b.phases)
			d.size = b.part * b.phases
		}
		d.stride = stride
		stride = times(stride, d.size)
	}
}

// fillBox copies dim j and those behind it: they lie at at in the operand, and at to in the copy, which
// begins at from in the operand.
func fillBox[T element](b *box, from []int64, out, in []T, j int, at, to int64) {
	fillSome(b, from, out, in, j, at, to, -1, 0, 0)
}

// fillSome copies positions low .. high of dim cut.
func fillSome[T element](b *box, from []int64, out, in []T, j int, at, to int64, cut int, low, high int64) {
	if len(b.dims) == 0 {
		out[to] = in[at]
		return
	}
	d := &b.dims[j]
	lo, hi := int64(0), d.size
	if cut == j {
		lo, hi = low, high
	}
	first, end := ceilDiv(max(0, -from[j]), d.every), ceilDiv(max(0, d.dim-from[j]), d.every) // that are there
	if j == len(b.dims)-1 && b.phases > 1 {
		fillParts(b, out[to:to+d.size], in, at+from[j]*d.step, first, end)
		return
	}
	first, end = min(max(first, lo), hi), min(max(end, lo), hi)
	if first >= end {
		clear(out[to+lo*d.stride : to+hi*d.stride])
		return
	}
	clear(out[to+lo*d.stride : to+first*d.stride])
	clear(out[to+end*d.stride : to+hi*d.stride])
	at += from[j] * d.step
	switch {
	case j < len(b.dims)-1:
		for i := first; i < end; i++ {
			fillSome(b, from, out, in, j+1, at+i*d.every*d.step, to+i*d.stride, cut, low, high)
		}
	case d.every == 1:
		copy(out[to+first:to+end], in[at+first:])
	default:
		every(out[to+first:to+end], in[at+first*d.every:], int(d.every))
	}
}

// fillParts copies positions first .. end of a row, part by part.
func fillParts[T element](b *box, row, in []T, at, first, end int64) {
	for f := range b.phases {
		part := row[f*b.part : (f+1)*b.part]
		lo, hi := max(0, ceilDiv(first-f, b.phases)), min(b.part, max(0, ceilDiv(end-f, b.phases)))
		if lo >= hi {
			clear(part)
			continue
		}
		clear(part[:lo])
		every(part[lo:hi], in[at+f+lo*b.phases:], int(b.phases))
		clear(part[hi:])
	}
}

// every copies every so many elements.
func every[T element](out, in []T, step int) {
	if step == 2 {
		for len(out) >= 4 && len(in) >= 8 {
			to, from := out[:4:4], in[:8:8]
			to[0], to[1], to[2], to[3] = from[0], from[2], from[4], from[6]
			out, in = out[4:], in[8:]
		}
	}
	for i := range out {
		out[i] = in[i*step]
	}
}

// filling is a box that threads fill.
type filling[T element] struct {
	box     *box
	out, in []T
	cut     int
	parts   int64
}

func (f *filling[T]) part(_, i int) error {
	n := f.box.dims[f.cut].size
	fillSome(f.box, f.box.from, f.out, f.in, 0, 0, 0, f.cut, n*int64(i)/f.parts, n*int64(i+1)/f.parts)
	return nil
}

// fill fills a box.
func (f *filling[T]) fill(d *Device, b *box, out, in []T) error {
	*f = filling[T]{box: b, out: out, in: in, parts: 1}
	for f.cut < len(b.dims)-2 && b.dims[f.cut].size == 1 {
		f.cut++
	}
	if f.cut < len(b.dims)-1 && b.size() > 4*d.alone {
		f.parts = min(int64(d.threads), b.dims[f.cut].size)
	}
	var err error
	if len(b.dims) == 0 {
		out[0] = in[0]
	} else {
		err = d.team.parallel(int(f.parts), f)
	}
	*f = filling[T]{}
	return err
}

// unstride has B copied so that columns lie side by side, where they are a stride of more than 1 apart in
// the last dim of B: whole vectors of them can be read then. A dim that one loop alone goes along has
// the positions that are read; in the last one, a loop that is summed over may go along, too.
func (p *product) unstride(s *interp.Stage) {
	end := len(p.b.index) - 1
	if p.b.buf == nil || end < 0 || p.table != nil || len(p.n) == 0 {
		return
	}
	column := &p.n[len(p.n)-1]
	phases := column.in(p.b.index[end])
	if column.out != 1 || phases < 2 {
		return
	}
	b := newBox(s.Shape(p.b.buf), s.Room(p.b.buf))
	nests := [][]loop{p.batch, p.n, p.k}
	var tap *loop
	for j, f := range p.b.index {
		var users []*loop
		low, size := int64(0), int64(1)
		for _, nest := range nests {
			for i := range nest {
				if k := nest[i].in(f); k != 0 {
					users = append(users, &nest[i])
					low, size = low+min(k*(nest[i].extent-1), 0), size+max(k, -k)*(nest[i].extent-1)
				}
			}
		}
		b.from[j], b.dims[j].size = f.c+low, size
		if len(users) == 1 && users[0].in(f) > 1 {
			b.dims[j].every, b.dims[j].size = users[0].in(f), users[0].extent
		} else if j == end {
			if len(users) != 2 || users[0] != column {
				return
			}
			tap, b.phases = users[1], phases
		} else if slices.Contains(users, column) {
			return
		}
	}
	b.layout()
	if b.size() >= far {
		return
	}
	p.b.pad, p.b.base = b, 0
	for j, f := range p.b.index[:end] {
		p.b.base += (f.c - b.from[j]) / b.dims[j].every * b.dims[j].stride
	}
	for _, nest := range nests {
		for i := range nest {
			l := &nest[i]
			l.b = 0
			for j, f := range p.b.index[:end] {
				l.b += l.in(f) / b.dims[j].every * b.dims[j].stride
			}
			switch l {
			case column:
				l.b++
			case tap:
				l.list = make([]int64, l.extent)
				for x := range l.list {
					pos := p.b.index[end].c - b.from[end] + int64(x)*l.in(p.b.index[end])
					l.list[x] = int64(x)*l.b + pos%phases*b.part + pos/phases
				}
			}
		}
	}
}
