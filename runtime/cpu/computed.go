package cpu

import (
	"unsafe"

	"github.com/pitopt/pitopt/core/interp"
)

// source is where a worker has a factor from: elements, or a view that computes them.
type source[T element] struct {
	data []T
	view interp.View[T]
	panels[T]
	box    []interp.Span
	pairs  bool // panels are of pairs of i16
	octets octetSource
	emit   func(at []int64, lane int, values []T) // panels.put
}

// open readies a factor, which has elements where it is not computed.
func (s *source[T]) open(x *interp.Execution, o *operand, data []T, pairs bool) (err error) {
	if s.data, s.pairs = data, pairs; o.buf == nil {
		if pairs {
			s.octets.open(x, o.octets)
		}
		s.view, err = o.window.(*interp.Window[T]).Open(x)
	}
	return err
}

func (s *source[T]) computed() bool { return s.view.Opened() }

func (s *source[T]) close() {
	if s.computed() {
		s.view.Close()
	}
	s.data, s.view, s.to, s.halves = nil, interp.View[T]{}, nil, nil
	s.octets.of, s.octets.data = nil, nil
}

// panels says where what a view emits belongs: into panels of some rows, or columns, element
// by element of k, which begin apart elements one after the other.
type panels[T element] struct {
	to           []T
	width, apart int
	// The axes that the run of rows and that of k go along, -1 for none, and how far before
	// the position along them the row and the k in the block lie.
	row, k     int
	rowAt, kAt int64
	halves     []int16 // of pairs; nil: elements are as they are
}

func (p *panels[T]) put(at []int64, lane int, values []T) {
	row, k := -p.rowAt, -p.kAt
	if p.row >= 0 {
		row += at[p.row]
	}
	if p.k >= 0 {
		k += at[p.k]
	}
	r, c := int(row), int(k)
	if p.halves != nil {
		p.halve(r, c, lane == p.row, values)
		return
	}
	if lane != p.row {
		to := p.to[r/p.width*p.apart+c*p.width+r%p.width:]
		for i, x := range values {
			to[i*p.width] = x
		}
		return
	}
	for at := r % p.width; len(values) > 0; at = 0 { // panel by panel
		n := min(p.width-at, len(values))
		copy(p.to[r/p.width*p.apart+c*p.width+at:], values[:n])
		values, r = values[n:], r+n
	}
}

// halve puts integers that follow each other along rows, or along k, into pairs along k.
func (p *panels[T]) halve(r, c int, alongRows bool, values []T) {
	if alongRows {
		for _, x := range values {
			p.halves[2*(r/p.width*p.apart+c/2*p.width+r%p.width)+c%2] = int16(x)
			r++
		}
		return
	}
	at := r/p.width*p.apart + c/2*p.width + r%p.width
	if c%2 == 1 && len(values) > 0 {
		p.halves[2*at+1] = int16(values[0])
		values, at = values[1:], at+p.width
	}
	for ; len(values) >= 2; values = values[2:] {
		pair := p.halves[2*at : 2*at+2 : 2*at+2]
		pair[0], pair[1] = int16(values[0]), int16(values[1])
		at += p.width
	}
	if len(values) > 0 {
		p.halves[2*at] = int16(values[0])
	}
}

// fill packs rows from r0 on of a nest, from k0 on to some depth, of one batch, in panels of
// width; rows that are missing at the end are 0, and so is the second half of the last pair of a sum of an odd number.
func (s *source[T]) fill(to []T, width, apart int, p *product, batch int64, rows []loop, r0 int64, n int, k0 int64, depth int) error {
	if s.emit == nil {
		s.emit = s.put
	}
	for len(s.box) < s.view.Axes() {
		s.box = append(s.box, interp.Span{})
	}
	box := s.box[:s.view.Axes()]
	if n%width != 0 {
		last := n / width * apart
		clear(to[last : last+width*depth])
	}
	s.halves = nil
	if s.pairs {
		if all := total(p.k); 2*(k0+int64(depth)) > all {
			for at := 0; at < n; at += width {
				last := at/width*apart + width*(depth-1)
				clear(to[last : last+width])
			}
		}
		s.halves = unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(to))), 2*len(to))
		k0, depth = 2*k0, int(min(2*int64(depth), total(p.k)-2*k0))
		if s.octets.of != nil {
			s.octets.fill(unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(to))), len(to)), width, apart, batch, r0, n, k0, depth)
			return nil
		}
	}
	for i := range box {
		box[i] = interp.Span{Lo: 0, Hi: 1}
	}
	atRows := box[len(p.batch):]
	atK := atRows[len(rows):]
	stand(box, p.batch, batch)
	s.to, s.width, s.apart = to, width, apart
	s.row, s.k = len(p.batch)+len(rows)-1, len(p.batch)+len(rows)+len(p.k)-1
	if len(rows) == 0 {
		s.row = -1
	}
	if len(p.k) == 0 {
		s.k = -1
	}
	for r := 0; r < n; {
		run := stretch(atRows, rows, r0+int64(r), int64(n-r))
		s.rowAt = -int64(r)
		if s.row >= 0 {
			s.rowAt += box[s.row].Lo
		}
		for k := 0; k < depth; {
			runK := stretch(atK, p.k, k0+int64(k), int64(depth-k))
			s.kAt = -int64(k)
			if s.k >= 0 {
				s.kAt += box[s.k].Lo
			}
			if err := s.view.Each(box, s.emit); err != nil {
				return err
			}
			k += int(runK)
		}
		r += int(run)
	}
	return nil
}

// stand sets spans to one position of a nest.
func stand(spans []interp.Span, nest []loop, pos int64) {
	for i := len(nest) - 1; i >= 0; i-- {
		at := pos % nest[i].extent
		spans[i] = interp.Span{Lo: at, Hi: at + 1}
		pos /= nest[i].extent
	}
}

// stretch sets spans to positions from pos on that differ along the innermost loop alone, n at
// most, and says how many there are.
func stretch(spans []interp.Span, nest []loop, pos, n int64) int64 {
	if len(nest) == 0 {
		return 1
	}
	stand(spans, nest, pos)
	last := len(nest) - 1
	n = min(n, nest[last].extent-spans[last].Lo)
	spans[last].Hi = spans[last].Lo + n
	return n
}
