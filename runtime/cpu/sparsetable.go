package cpu

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// TileTable says what tiles of products cost on a machine, in nanoseconds: what a choice between ways to leave
// out zeros goes by.
type TileTable struct {
	Rows   []int     `json:"rows"`   // of tiles, from 1 to as many as registers hold
	Step   []float64 `json:"step"`   // of a tile with so many rows, for each k
	List   []float64 `json:"list"`   // of one that finds rows of the second factor by a list
	Wide   float64   `json:"wide"`   // of one of a single row and many columns, for each k and as many columns as other tiles have, beyond the second-level cache
	Call   float64   `json:"call"`   // beside what a tile does
	Start  float64   `json:"start"`  // beside what a tile with a list does, whose first rows nobody has fetched
	Pack   float64   `json:"pack"`   // of an element, row by row
	Gather float64   `json:"gather"` // of an element by its place
	Sum    float64   `json:"sum"`    // of an element of the result that is summed up elsewhere
	Far    float64   `json:"far"`    // of a byte that lies beyond the second-level cache, and in the last one, as weights do from run to run
}

// The tables of machines that nobody measured: those of a Zen 4, and, where vectors of 512 bits are computed as a whole, of a Zen 5.
var (
	tableV4Wide = TileTable{Rows: []int{1, 2, 4, 8, 14}, Step: []float64{0.66, 0.67, 1.09, 1.9, 3.3}, List: []float64{0.64, 0.76, 1.03, 1.92, 3.32},
		Wide: 1.18, Call: 8, Start: 10, Pack: 0.076, Gather: 0.62, Sum: 0.1, Far: 0.0079}
	tableV4 = TileTable{Rows: []int{1, 2, 4, 8, 14}, Step: []float64{1.12, 1.16, 2.17, 4.34, 7.6}, List: []float64{1.19, 1.3, 2.18, 4.37, 7.72},
		Wide: 1.93, Call: 11, Start: 14, Pack: 0.16, Gather: 0.86, Sum: 0.17, Far: 0.0125}
	tableV3 = TileTable{Rows: []int{1, 2, 4, 6}, Step: []float64{0.58, 0.62, 1.17, 1.63}, List: []float64{0.69, 0.79, 1.19, 1.66},
		Wide: 0.88, Call: 9.2, Start: 11, Pack: 0.23, Gather: 0.87, Sum: 0.23, Far: 0.0125}
)

// tiles is the table of the device: what Tune has stored, or one that is built in.
func (d *Device) tiles() *TileTable {
	d.tiled.Do(func() {
		d.table = d.builtIn()
		if t, _, err := d.storedTiles(); t != nil && err == nil {
			d.table = t
		}
	})
	return d.table
}

// builtIn goes by what processors have, so that one machine has one table, and one set of bits: those with AVX-VNNI
// beside AVX-512 are younger than those that halve its vectors.
func (d *Device) builtIn() *TileTable {
	switch f := d.machine.features; {
	case f&x86.V4 != 0 && f&x86.AVXVNNI != 0:
		return &tableV4Wide
	case f&x86.V4 != 0:
		return &tableV4
	}
	return &tableV3
}

// fits says whether a table has all that another one has.
func (t *TileTable) fits(other *TileTable) bool {
	list := append(append([]float64{t.Wide, t.Call, t.Start, t.Pack, t.Gather, t.Sum, t.Far}, t.Step...), t.List...)
	return slices.Equal(t.Rows, other.Rows) && len(t.Step) == len(t.Rows) && len(t.List) == len(t.Rows) &&
		!slices.ContainsFunc(list, func(x float64) bool { return !(x > 0 && x < 1e6) })
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
	bytes := s.panels() * float64(s.cut.nr*s.lasting.Bytes()*s.depth)
	if bytes < nearBytes {
		return 0
	}
	return part * bytes * t.Far
}

const (
	nearBytes = 1 << 20  // that stay in the second-level cache
	lastCache = 32 << 20 // and in the last one: what does not comes from memory in each run
)

// tiling is what tiles of some rows, as even as may be, take for a k together, and how many they are.
func (t *TileTable) tiling(rows float64, most int) (steps, tiles float64) {
	tiles = max(math.Ceil(rows/float64(most)), 1)
	size := rows / tiles
	if size < 1 {
		return size * t.step(t.Step, 1), size
	}
	low := t.step(t.Step, int(size))
	part := size - math.Floor(size)
	return tiles * (low + part*(t.step(t.Step, min(int(size)+1, most))-low)), tiles
}

// denseCost is what the product takes with all its terms.
func (t *TileTable) denseCost(s *sparse) float64 {
	steps, tiles := t.tiling(float64(s.rows), s.cut.mr)
	ns := s.panels() * (steps*float64(s.depth) + tiles*t.Call)
	return max(ns, t.far(s, 1)) + t.Pack*float64(s.rows)*float64(s.depth)
}

// groupCount is how many groups of some rows there are.
func (s *sparse) groupCount(rows, depth int) float64 {
	return float64(((s.rows + rows - 1) / rows) * ((s.depth + depth - 1) / depth))
}

// listCost is what tiles take that cover so many terms with lists.
func (t *TileTable) listCost(s *sparse, w way, terms, some float64) float64 {
	ns := s.panels() * (terms*t.step(t.List, w.rows) + min(s.groupCount(w.rows, w.depth), terms)*t.Start)
	if w.depth < s.depth {
		ns += 2 * t.Sum * float64(s.rows) * float64(s.cols)
	}
	return ns + pieces*t.far(s, some) + terms*float64(w.rows)*t.Gather + s.scattered(t)
}

// pieces is how much longer it takes to read from beyond the caches what a list names of panels, some columns here and some there, than
// as much in order. What is multiplied waits for it, so that it comes beside what the tiles take.
const pieces = 2.5

// wideCost is what single rows take that have so many elements. Whether b comes from memory makes no difference to what is chosen: the
// first run of a model knows less of it than the second one.
func (t *TileTable) wideCost(s *sparse, ones float64) float64 {
	return s.panels()*t.Wide*ones + float64(s.rows)*t.Start*max(1, s.panels()/8) + ones*listedTerm*t.Gather
}

// listedTerm is what it takes to list a term of a single row, in the time of a gathered element.
const listedTerm = 7

// blockCost is what tiles take of rows that have something in blocks.
func (t *TileTable) blockCost(s *sparse, w way, rows float64) float64 {
	blocks := float64((s.depth + w.depth - 1) / w.depth)
	steps, tiles := t.tiling(rows/blocks, s.cut.mr)
	ns := s.panels() * blocks * (steps*float64(w.depth) + tiles*t.Call)
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
