package cpu

import (
	"unsafe"

	"github.com/pitopt/pitopt/core/analysis"
)

// What leaving out terms takes beside the factors is planned with a run's memory, as that of other products is, for the
// zeros that take the most: which way is taken, and with it every bit of a result, depends on the factor alone, and on
// nothing else that is in memory. Of a large factor not all is gathered at a time.

const (
	mostLittle   = 8       // less depth has nothing to leave out
	mostWide     = 1 << 20 // rows and columns have numbers of 32 bits
	mostComputed = 1 << 24 // elements of a factor that is computed: they are kept, for zeros and terms are looked for one after the other
	mostGathered = 1 << 20 // elements that are gathered at a time: much work, whatever it reads of b
	mostCompact  = 1 << 16 // elements of a strip of columns of the result that is put together
	stripBytes   = 1 << 19 // of panels of b that stay in the second-level cache, while rows go by and the next ones come
	chunkUnit    = 56      // rows; most tiles divide them
	lineFloats   = 16
)

// worthLooking says whether there is enough to a product that terms may be left out.
func (p *product) worthLooking(cut *blocks) bool {
	rows, cols, depth := total(p.m), total(p.n), total(p.k)
	return cols >= int64(cut.nr) && depth >= mostLittle && cols <= mostWide && depth <= mostWide && rows <= mostWide &&
		times(rows, cols, depth) >= 1<<14 && (p.a.buf != nil || times(rows, depth) <= mostComputed)
}

// gatherRow is how many elements a row takes at most: its own, which terms they are, and what is ahead of each list.
func (p *product) gatherRow() int64 {
	depth := total(p.k)
	return 2*depth + ceilDiv(depth, mostTerms)*listAhead
}

// gatherRoom is how many elements are gathered at a time, at most.
func (p *product) gatherRoom() int64 {
	rows, row := total(p.m), p.gatherRow()
	return max(min(times(rows, row), mostGathered), min(rows, chunkUnit)*row) + lineFloats
}

// gatherRows is how many rows there is room for, whatever they have: all, or a multiple of chunkUnit.
func (p *product) gatherRows() int {
	n := (p.gatherRoom() - lineFloats) / p.gatherRow()
	if rows := total(p.m); n >= rows {
		return int(rows)
	}
	return int(n / chunkUnit * chunkUnit)
}

// stripPanels is how many panels of b are a strip, on one thread.
func (p *product) stripPanels(cut *blocks) int {
	return int(max(1, min(stripBytes/(4*total(p.k)*int64(cut.nr)), 16)))
}

// compactRows is how many rows of a strip are put together at a time, at most.
func (p *product) compactRows(cut *blocks) int {
	return max(mostCompact/(p.stripPanels(cut)*cut.nr)/chunkUnit*chunkUnit, chunkUnit)
}

// sparseThreads is how many threads leave out terms.
func (p *product) sparseThreads(d *Device) int {
	if times(total(p.batch), total(p.m), total(p.n), total(p.k)) < 4*d.alone {
		return 1
	}
	return d.threads
}

// sparseRoom is how many elements are taken in turn: bits, a where it is computed, what is gathered, and for each
// worker panels of b, where they are not packed for all runs, and what is put together.
func (p *product) sparseRoom(cut *blocks, whole bool) (bits, a, gathered, b, compact int64) {
	rows, cols, depth := total(p.m), total(p.n), total(p.k)
	bits, gathered = 2*rows*ceilDiv(depth, 64), p.gatherRoom()
	if p.a.buf == nil {
		a = rows * depth
	}
	strip := min(int64(p.stripPanels(cut)*cut.nr), roundUp(cols, int64(cut.nr)))
	if b = strip * depth; whole {
		b = 0
	} else if rows <= mostWidely && p.kept != nil && !p.rowsLie(cut) {
		b = max(strip, roundUp(int64(wideColumns(cut, cols)), int64(cut.nr))) * depth
	}
	return bits, a, gathered, b, strip * min(rows, int64(p.compactRows(cut)))
}

// sparseBytes is what a product takes from its workspace where terms are left out, the factor's copy with a border aside.
func (p *product) sparseBytes(d *Device, whole bool) int64 {
	cut := d.machine.blocks
	if cut == nil || !p.worthLooking(cut) {
		return 0
	}
	bits, a, gathered, b, compact := p.sparseRoom(cut, whole)
	return roomBytes(p.sparseThreads(d), bits, a, gathered, b, compact)
}

// roomBytes is what so many elements take together.
func roomBytes(threads int, bits, a, gathered, b, compact int64) int64 {
	size := func(n int64) int64 { return analysis.Aligned(4 * n) }
	return size(bits) + size(a) + size(gathered) + int64(threads)*(size(b)+size(compact))
}

// room takes memory.
func (s *sparse) room() (err error) {
	bits, a, gathered, b, compact := s.p.sparseRoom(s.cut, s.whole != nil)
	if err := s.provide(s.out, roomBytes(s.threads, bits, a, gathered, b, compact)); err != nil {
		return err
	}
	s.bits.row = (s.depth + 63) / 64
	words, err := s.take(bits)
	if err != nil {
		return err
	}
	if len(words) > 0 {
		s.bits.bits = unsafe.Slice((*uint64)(unsafe.Pointer(&words[0])), s.rows*s.bits.row)
	}
	if a > 0 {
		if s.dataA, err = s.take(a); err != nil {
			return err
		}
	}
	if s.gathered, err = s.take(gathered); err != nil {
		return err
	}
	for _, w := range s.workers[:s.threads] {
		if w.packB, err = s.take(b); err != nil {
			return err
		}
		if w.compact, err = s.take(compact); err != nil {
			return err
		}
	}
	return nil
}

func (s *sparse) take(n int64) ([]float32, error) { return take[float32](&s.workspace, s.out, n) }

// stow finds where what is gathered of a portion goes.
func (s *sparse) stow() {
	s.packed, s.lists = s.gathered[:s.portion.packed], nil
	if lists := s.gathered[roundUp(int64(s.portion.packed), lineFloats):]; s.portion.listed > 0 {
		s.lists = unsafe.Slice((*int32)(unsafe.Pointer(&lists[0])), s.portion.listed)
	}
	for _, w := range s.workers[:s.threads] {
		w.placed = nil
	}
}
