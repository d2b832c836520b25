package cpu

import (
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// TileTable says what tiles of products cost on a machine, in nanoseconds: what a choice between ways to leave
// out zeros goes by.
type TileTable struct {
	Rows   []int     // of tiles, from 1 to as many as registers hold
	Step   []float64 // of a tile with so many rows, for each k
	List   []float64 // of one that finds rows of the second factor by a list
	Wide   float64   // of one of a single row and many columns, for each k and as many columns as other tiles have
	Call   float64   // beside what a tile does
	Pack   float64   // of an element, row by row
	Gather float64   // of an element by its place
	Sum    float64   // of an element of the result that is summed up elsewhere
	Far    float64   // of a byte of the second factor that lies beyond the second-level cache
}

// The tables of machines that nobody measured.
var (
	tableV4 = TileTable{Rows: []int{1, 2, 4, 8, 14}, Step: []float64{0.9, 0.9, 1.4, 2.4, 4.1}, List: []float64{0.85, 1.0, 1.5, 2.5, 4.2},
		Wide: 1.0, Call: 25, Pack: 0.15, Gather: 0.9, Sum: 0.3, Far: 0.05}
	tableV3 = TileTable{Rows: []int{1, 2, 4, 6}, Step: []float64{0.55, 0.67, 1.2, 1.55}, List: []float64{0.55, 0.67, 1.2, 1.55},
		Wide: 0.55, Call: 25, Pack: 0.2, Gather: 0.9, Sum: 0.6, Far: 0.05}
)

// tiles is the table of the device.
func (d *Device) tiles() *TileTable {
	if d.machine.features&x86.V4 != 0 {
		return &tableV4
	}
	return &tableV3
}

// step is what a tile of some rows takes for a k.
func (t *TileTable) step(list []float64, rows int) float64 {
	for i, n := range t.Rows {
		if n == rows {
			return list[i]
		}
		if n > rows {
			part := float64(rows-t.Rows[i-1]) / float64(n-t.Rows[i-1])
			return list[i-1] + part*(list[i]-list[i-1])
		}
	}
	return list[len(list)-1]
}

// panels is how many panels of columns there are.
func (s *sparse) panels() float64 { return float64((s.cols + s.cut.nr - 1) / s.cut.nr) }

// far is what it takes to read a part of b from beyond the caches.
func (t *TileTable) far(s *sparse, part float64) float64 {
	bytes := s.panels() * float64(s.cut.nr*s.half.Bytes()*s.depth)
	if bytes < nearBytes {
		return 0
	}
	return part * bytes * t.Far
}

const nearBytes = 1 << 20

// denseCost is what the product takes with all its terms.
func (t *TileTable) denseCost(s *sparse) float64 {
	p := rowPanels{int64(s.rows), (int64(s.rows) + int64(s.cut.mr) - 1) / int64(s.cut.mr)}
	high := p.rows % p.n // panels with a row more
	size := int(p.rows / p.n)
	steps := float64(p.n-high)*t.step(t.Step, size) + float64(high)*t.step(t.Step, min(size+1, s.cut.mr))
	ns := s.panels() * (steps*float64(s.depth) + float64(p.n)*t.Call)
	return max(ns, t.far(s, 1)) + t.Pack*float64(s.rows)*float64(s.depth)
}

// groupCount is how many groups of some rows there are.
func (s *sparse) groupCount(rows, depth int) float64 {
	return float64(((s.rows + rows - 1) / rows) * ((s.depth + depth - 1) / depth))
}

// listCost is what tiles take that cover so many terms with lists.
func (t *TileTable) listCost(s *sparse, w way, terms, some float64) float64 {
	ns := s.panels() * (terms*t.step(t.List, w.rows) + min(s.groupCount(w.rows, w.depth), terms)*t.Call)
	if w.depth < s.depth {
		ns += 2 * t.Sum * float64(s.rows) * float64(s.cols)
	}
	return max(ns, t.far(s, some)) + terms*float64(w.rows)*t.Gather + s.scattered(t)
}

// wideCost is what single rows take that have so many elements.
func (t *TileTable) wideCost(s *sparse, ones, some float64) float64 {
	ns := s.panels()*ones*t.Wide + float64(s.rows)*t.Call*max(1, s.panels()/8)
	return max(ns, t.far(s, some)) + ones*t.Gather
}

// blockCost is what tiles take of rows that have something in blocks.
func (t *TileTable) blockCost(s *sparse, w way, rows float64) float64 {
	most := float64(s.cut.mr)
	ns := s.panels() * (rows * float64(w.depth) / most * t.step(t.Step, s.cut.mr))
	ns += s.panels() * (rows/most + float64((s.depth+w.depth-1)/w.depth)) * t.Call
	if w.depth < s.depth {
		ns += t.Sum*float64(s.rows)*float64(s.cols) + s.panels()*rows*float64(s.cut.nr)*t.Sum/4
	}
	return max(ns, t.far(s, 1)) + rows*float64(w.depth)*t.Pack + s.scattered(t)
}

// scattered is what it takes to write a result whose columns do not lie side by side.
func (s *sparse) scattered(t *TileTable) float64 {
	if s.beside {
		return 0
	}
	return 4 * t.Sum * float64(s.rows) * float64(s.cols)
}
