package analysis

import (
	"cmp"
	"iter"
	"math"
	"slices"
)

// Life is the range of steps in which a piece of memory is in use, both ends included.
type Life struct{ From, To int }

// Overlaps says whether two pieces are in use at the same step.
func (l Life) Overlaps(m Life) bool { return l.From <= m.To && m.From <= l.To }

// with is a life that includes a step.
func (l Life) with(step int) Life { return Life{min(l.From, step), max(l.To, step)} }

// Align is what offsets of pieces are multiples of, in bytes: a cache line.
const Align = 64

// MaxPlaced bounds what all pieces have together, in bytes, so that no sum overflows.
const MaxPlaced = 1 << 60

// Placer assigns offsets to pieces of memory whose lives are known before their sizes are:
// what can be worked out from lives alone is worked out once. It may be used concurrently.
type Placer struct {
	lives   []Life
	meets   [][]int32 // pieces in use at a step that this piece is in use at
	longest []int32   // pieces, the longest life first
}

// NewPlacer makes a placer for pieces with these lives.
func NewPlacer(lives []Life) *Placer {
	p := &Placer{lives: lives, meets: make([][]int32, len(lives)), longest: make([]int32, len(lives))}
	order := make([]int32, len(lives)) // by start
	for i := range order {
		order[i], p.longest[i] = int32(i), int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return lives[a].From - lives[b].From })
	slices.SortStableFunc(p.longest, func(a, b int32) int {
		return (lives[b].To - lives[b].From) - (lives[a].To - lives[a].From)
	})
	var open []int32
	for _, i := range order {
		open = slices.DeleteFunc(open, func(j int32) bool { return lives[j].To < lives[i].From })
		for _, j := range open {
			p.meets[i] = append(p.meets[i], j)
			p.meets[j] = append(p.meets[j], i)
		}
		open = append(open, i)
	}
	return p
}

// Largest is the largest sum of sizes, each rounded up to Align, of pieces that are in use
// at the same step: no placement takes less.
func (p *Placer) Largest(sizes []int64) int64 {
	largest := int64(0)
	for i := range p.lives { // some piece of the largest set starts last
		sum := Aligned(sizes[i])
		for _, j := range p.meets[i] {
			if l := p.lives[j]; l.From < p.lives[i].From || l.From == p.lives[i].From && int(j) < i {
				sum += Aligned(sizes[j])
			}
		}
		largest = max(largest, sum)
	}
	return largest
}

// Aligned is a size rounded up to a multiple of Align.
func Aligned(n int64) int64 { return (n + Align - 1) / Align * Align }

// Place writes an offset for each piece and gives the bytes that all of them take. Pieces in
// use at the same step do not overlap. Pieces are placed one by one, each in the smallest gap
// that the pieces it meets leave: largest first, and where that is far from what it must be
// in other orders, of which the best is kept. ok is false for sizes that are negative or more
// than MaxPlaced together.
func (p *Placer) Place(sizes, offsets []int64) (total int64, ok bool) {
	all := int64(0)
	for _, n := range sizes {
		if n < 0 || n > MaxPlaced-all {
			return 0, false
		}
		all += n
	}
	least := p.Largest(sizes)
	total = math.MaxInt64
	try := make([]int64, len(offsets))
	for order := range p.Orders(sizes) {
		if n := p.inOrder(order, sizes, try); n < total {
			total = n
			copy(offsets, try)
		}
		if total <= least+least/16 {
			break
		}
	}
	return total, true
}

// Orders gives orders in which to place pieces: the largest first, the largest area, what has most beside it, the first one, and the
// longest life. An order holds until the next one is asked for.
func (p *Placer) Orders(sizes []int64) iter.Seq[[]int32] {
	bySize := func(a, b int32) int { return cmp.Compare(sizes[b], sizes[a]) }
	return func(yield func([]int32) bool) {
		order := make([]int32, len(p.longest))
		for _, less := range []func(a, b int32) int{
			bySize,
			func(a, b int32) int { return cmp.Compare(p.area(b, sizes), p.area(a, sizes)) },
			func(a, b int32) int { return cmp.Compare(p.around(b, sizes), p.around(a, sizes)) },
			func(a, b int32) int { return p.lives[a].From - p.lives[b].From },
			nil,
		} {
			copy(order, p.longest)
			if less != nil {
				slices.SortStableFunc(order, bySize)
				slices.SortStableFunc(order, less)
			}
			if !yield(order) {
				return
			}
		}
	}
}

// area is the size of a piece times the length of its life.
func (p *Placer) area(i int32, sizes []int64) float64 {
	return float64(sizes[i]) * float64(p.lives[i].To-p.lives[i].From+1)
}

// around is the most that is in use at the start of a piece that starts during the life of
// this one.
func (p *Placer) around(i int32, sizes []int64) int64 {
	sum := Aligned(sizes[i])
	for _, j := range p.meets[i] {
		if p.lives[j].From <= p.lives[i].From {
			sum += Aligned(sizes[j])
		}
	}
	return sum
}

// inOrder places pieces in an order, each into the smallest gap that is large enough, else
// behind the last piece it meets.
func (p *Placer) inOrder(order []int32, sizes, offsets []int64) (total int64) {
	const nowhere = -1
	for i := range offsets {
		offsets[i] = nowhere
	}
	var taken []int32 // placed pieces that the piece meets, by offset
	for _, i := range order {
		size := Aligned(sizes[i])
		if size == 0 {
			offsets[i] = 0
			continue
		}
		taken = taken[:0]
		for _, j := range p.meets[i] {
			if offsets[j] >= 0 && sizes[j] > 0 {
				taken = append(taken, j)
			}
		}
		slices.SortFunc(taken, func(a, b int32) int { return cmp.Compare(offsets[a], offsets[b]) })
		best, gap, end := int64(nowhere), int64(math.MaxInt64), int64(0)
		for _, j := range taken {
			if room := offsets[j] - end; room >= size && room < gap {
				best, gap = end, room
			}
			end = max(end, offsets[j]+Aligned(sizes[j]))
		}
		if best == nowhere {
			best = end
		}
		offsets[i] = best
		total = max(total, best+size)
	}
	return total
}
