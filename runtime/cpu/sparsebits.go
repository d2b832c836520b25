package cpu

import (
	"slices"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// zeros is code.
type zeros x86.Zeros

func (z zeros) Program(f x86.Features) (*x86.Prog, error) { return x86.Zeros(z).Program(f) }

// within is code.
type within x86.Within

func (w within) Program(f x86.Features) (*x86.Prog, error) { return x86.Within(w).Program(f) }

// bitmap has a bit for each element of a, which is 0 where the element is 0 or -0: rows of words, along k.
type bitmap struct {
	bits []uint64
	row  int // words of a row
}

// of is the words of a row.
func (b *bitmap) of(r int) []uint64 { return b.bits[r*b.row : (r+1)*b.row] }

// detectRows is the rows of a strip; along rows, as many lots of elements are looked at together.
const detectRows = 512

func (s *sparse) detectStrips() int { return (s.rows + detectRows - 1) / detectRows }

// detect sets the bits of a strip of rows. Where a is computed, it is now.
func (s *sparse) detect(w *sparseWorker, strip int) error {
	if err := w.ctx.Err(); err != nil {
		return diag.Stopped(err)
	}
	r0, r1 := strip*detectRows, min((strip+1)*detectRows, s.rows)
	if s.p.a.buf == nil {
		for r := r0; r < r1; r += 64 {
			n := min(64, r1-r)
			if err := w.a.fill(s.dataA[r*s.depth:], 1, s.depth, s.p, s.batch, s.p.m, int64(r), n, 0, s.depth); err != nil {
				return err
			}
		}
	}
	f, err := s.cut.code.code(zeros{})
	if err != nil {
		return err
	}
	switch {
	case s.alongK:
		for r := r0; r < r1; r++ {
			s.look(w, f, s.bits.of(r), s.dataA[s.baseA()+s.rowA[r]:][:s.depth])
		}
	case s.across:
		s.lookAcross(w, f, &s.bits, r0, r1-r0, r1-r0, s.baseA()+s.rowA[r0], s.kA)
	default:
		for r := r0; r < r1; r++ {
			words, row := s.bits.of(r), s.baseA()+s.rowA[r]
			clear(words)
			for k, at := range s.kA {
				if s.dataA[row+at] != 0 {
					words[k/64] |= 1 << (k % 64)
				}
			}
		}
	}
	return nil
}

// look sets bits of elements that lie side by side.
func (s *sparse) look(w *sparseWorker, f x86.Func, to []uint64, from []float32) {
	if lots := len(from) / x86.ZerosLot; lots > 0 {
		w.zeros = x86.ZerosArgs{Lots: int64(lots), From: unsafe.Pointer(&from[0]), To: unsafe.Pointer(&to[0])}
		f.Call(unsafe.Pointer(&w.zeros))
		to, from = to[lots:], from[lots*x86.ZerosLot:]
	}
	if len(from) > 0 {
		word := uint64(0)
		for i, x := range from {
			if x != 0 {
				word |= 1 << i
			}
		}
		to[0] = word
	}
}

// lookAcross sets the bits of rows along which elements lie side by side: first along them, k by k. Of rows that come
// after these as many may be read as fill a word.
func (s *sparse) lookAcross(w *sparseWorker, f x86.Func, to *bitmap, r0, rows, read, from int, kA []int) {
	across := (rows + 63) / 64
	if n := across * 64; len(w.words) < n {
		w.words = make([]uint64, n)
	}
	for k0 := 0; k0 < len(kA); k0 += 64 {
		n := min(64, len(kA)-k0)
		for k := range n {
			s.look(w, f, w.words[k*across:(k+1)*across], s.dataA[from+kA[k0+k]:][:read])
		}
		for b := range across {
			var square [64]uint64
			for k := range n {
				square[k] = w.words[k*across+b]
			}
			transpose(&square)
			for i, x := range square[:min(64, rows-64*b)] {
				to.bits[(r0+64*b+i)*to.row+k0/64] = x
			}
		}
	}
}

// transpose swaps rows and columns of a square of bits, halves, quarters and so on at a time.
func transpose(x *[64]uint64) {
	mask := uint64(1<<32 - 1)
	for j := 32; j > 0; j, mask = j/2, mask^mask<<(j/2) {
		for k := 0; k < 64; k = (k + j + 1) &^ j {
			t := (x[k]>>j ^ x[k+j]) & mask
			x[k] ^= t << j
			x[k+j] ^= t
		}
	}
}

// glance says from a small part of a that no way to leave out zeros is worth it: so that looking for them takes
// hardly any time where all of the product is computed. What it looks at depends on sizes alone.
func (s *sparse) glance() (dense bool, err error) {
	if s.rows == 0 || s.d.weigh != nil {
		return false, nil
	}
	one, size, depth, look := s.glancing()
	windows := min(max(int(glanceMost*s.dense/one), 1), mostGlances, s.rows/size)
	w := s.workers[0]
	f, err := s.cut.code.code(zeros{})
	if err != nil {
		return false, err
	}
	b := &s.glanced
	b.row = (depth + 63) / 64
	b.bits = slices.Grow(b.bits[:0], windows*size*b.row)[:windows*size*b.row]
	if s.p.a.buf == nil {
		s.values = slices.Grow(s.values[:0], size*depth)[:size*depth]
	}
	for i := range windows {
		r0 := i * (s.rows - size) / max(windows-1, 1)
		k0 := 37 * i * glanceDepth % (s.depth - depth + 1)
		if s.p.a.buf == nil {
			if err := w.a.fill(s.values, 1, depth, s.p, 0, s.p.m, int64(r0), size, int64(k0), depth); err != nil {
				return false, err
			}
		}
		addresses(w.rowA[:size], s.p.m, int64(r0), stepA)
		if !s.alongK {
			addresses(w.kA[:depth], s.p.k, int64(k0), stepA)
		}
		if s.across && !s.alongK {
			s.lookAcross(w, f, b, i*size, size, min(64, s.rows-r0), s.baseA()+w.rowA[0], w.kA[:depth])
			continue
		}
		for r := range size {
			to := b.of(i*size + r)
			switch {
			case s.p.a.buf == nil:
				s.look(w, f, to, s.values[r*depth:][:depth])
			case s.alongK:
				s.look(w, f, to, s.dataA[s.baseA()+w.rowA[r]+k0:][:depth])
			default:
				clear(to)
				for k, at := range w.kA[:depth] {
					if s.dataA[s.baseA()+w.rowA[r]+at] != 0 {
						to[k/64] |= 1 << (k % 64)
					}
				}
			}
		}
	}
	s.cover(b, windows*size, depth)
	s.best()
	return s.way.dense || s.way.ns+look*float64(s.rows)*float64(s.depth) > chosenBelow*s.dense, nil
}

// glancing is what it takes to look at a window of so many rows and terms, and at an element in the end.
func (s *sparse) glancing() (window float64, rows, depth int, element float64) {
	rows, depth = min(s.table.window(), s.rows), min(s.depth, glanceDepth)
	switch {
	case s.alongK:
		window, element = glanceCall*float64(rows), glanceLook
	case s.across: // a square of bits
		depth = min(depth, 64)
		window, element = glanceAcross*float64(depth), 2*glanceLook
	default:
		window, element = glanceFar*float64(rows*depth), glanceFar
	}
	return (window + glanceWindow) * s.table.Gather, rows, depth, element * s.table.Gather
}

// tooLittle says that to look at one window, or at all of a row, takes too much of what the product does.
func (s *sparse) tooLittle(row bool) bool {
	window, _, _, look := s.glancing()
	if row {
		return singleRow*s.table.Gather+look*float64(s.depth) > singleMost*s.dense
	}
	return s.d.weigh == nil && window > glanceMost*s.dense
}

const (
	glanceDepth = 128  // elements of a row that are looked at
	mostGlances = 8    // windows of rows
	glanceMost  = 0.01 // of what the product takes
	singleMost  = 0.02 // of what that of a single row takes, which is looked at as a whole

	// In the time of a gathered element (TileTable.Gather), as that is of a processor, and not of its vectors:
	glanceCall   = 29.   // for a row
	glanceWindow = 930.  // and for counting
	glanceAcross = 29.   // for a k, where rows lie side by side
	glanceFar    = 5.8   // and for an element that has none beside it
	glanceLook   = 0.12  // to look at an element in the end, of some side by side
	singleRow    = 1000. // beside that for a single row
)

// finiteWeights says whether all of b is finite, which is constant: what was packed for all runs, or the constant itself.
func (s *sparse) finiteWeights() bool {
	switch w := s.workers[0]; {
	case s.whole == nil:
		return s.finitePanels(w, s.dataB)
	case s.half == x86.WeightsF32:
		return s.finitePanels(w, unsafe.Slice((*float32)(unsafe.Pointer(&s.whole[0])), len(s.whole)/4))
	}
	exponent := uint16(0x7c00)
	if s.half == x86.WeightsBF16 {
		exponent = 0x7f80
	}
	for _, x := range unsafe.Slice((*uint16)(unsafe.Pointer(&s.whole[0])), len(s.whole)/2) {
		if x&exponent == exponent {
			return false
		}
	}
	return true
}

// finitePanels says whether elements that were packed are finite.
func (s *sparse) finitePanels(w *sparseWorker, list []float32) bool {
	f, err := s.cut.code.code(zeros{Finite: true})
	if err != nil {
		return false
	}
	const most = 1 << 10 // lots of a call
	for len(list) >= x86.ZerosLot {
		lots := min(len(list)/x86.ZerosLot, most)
		w.zeros = x86.ZerosArgs{Lots: int64(lots), From: unsafe.Pointer(&list[0]), To: unsafe.Pointer(&w.sum[0])}
		f.Call(unsafe.Pointer(&w.zeros))
		for _, x := range w.sum {
			if x != x {
				return false
			}
		}
		list = list[lots*x86.ZerosLot:]
	}
	for _, x := range list {
		if x-x != 0 {
			return false
		}
	}
	return true
}
