package cpu

import (
	"fmt"
	"math/bits"
	"slices"
)

// way is a way to cover what is not zero by tiles of a product.
type way struct {
	dense bool // by all that there are
	rows  int  // of a tile, at most
	depth int  // of a block of k
	list  bool // a tile has the terms that one of its rows has something in; else all of a block, of rows that have something there
	wide  bool // rows one by one, with rows of b where they lie

	wanted bool // tiles that have something that is wanted
	across bool // whose columns are rows of the product

	ns float64 // that it is expected to take
}

// name takes no memory from Go.
func (w way) name() string {
	switch {
	case w.dense:
		return "dense"
	case w.wanted:
		return "tiles that are wanted"
	case w.wide:
		return "terms of single rows"
	case w.list:
		return "terms of some rows"
	}
	return "rows of blocks"
}

func (w way) String() string {
	switch {
	case w.dense:
		return "dense"
	case w.wanted:
		return fmt.Sprintf("tiles that are wanted, across: %t", w.across)
	case w.wide:
		return "lists of a row"
	case w.list:
		return fmt.Sprintf("lists of %d rows", w.rows)
	}
	return fmt.Sprintf("rows by blocks of %d", w.depth)
}

// group is rows that are multiplied together, in a block of k.
type group struct {
	first, n int32 // in selection.order
	k0       int32 // of the block
	count    int32 // terms
	list     int   // where they are listed; -1: all of the block
	panel    int   // where it is packed
}

// chunk is rows that are computed one after the other, in all of a strip of columns.
type chunk struct {
	row, rows     int
	group, groups int
	slot, slots   int // in selection.some
	zero, zeros   int // in selection.zero
}

// portion is chunks whose groups there is room for at a time.
type portion struct {
	chunks []chunk
	groups []group
	packed int // elements
	listed int // terms, with room ahead of each list
}

// selection is a way with rows and terms.
type selection struct {
	groups   []group
	chunks   []chunk
	portions []portion
	order    []int32 // rows, group by group
	some     []int32 // rows that groups are made of, chunk by chunk, each once
	zero     []int32 // the others
	slots    []int32 // of rows: where in its chunk's part of some each is; -1: it is zero
	sums     bool    // rows are of several groups, which are summed up
	packed   int     // elements of the portion that is being made
	listed   int     // terms, with room ahead of each list
}

// covers is what tiles of some shapes cover, counted in windows of rows.
type covers struct {
	rows   []int     // of a tile with lists
	terms  []float64 // that the lists of such tiles have together
	depths []int     // of blocks
	blocks []float64 // rows that have something in a block, over all blocks
	ones   float64
	some   float64 // part of k that has something in some row
}

// window is a number of rows that all tiles divide.
func (t *TileTable) window() int {
	if len(t.Rows) > 0 && t.Rows[len(t.Rows)-1] == 14 {
		return 56
	}
	return 24
}

// mostWindows is how many windows of rows are looked at; of more, a sample is.
const mostWindows = 64

// cover counts what tiles cover of a bitmap of some rows and terms, which are all of the product's, or a part of
// them. Which rows are looked at depends on how many there are alone.
func (s *sparse) cover(b *bitmap, rows, depth int) {
	c, t := &s.covers, s.table
	c.rows, c.depths = c.rows[:0], append(c.depths[:0], 32, 64, 256, s.depth)
	for _, n := range t.Rows {
		if c.rows = append(c.rows, n); n >= s.rows { // more rows are the same groups
			break
		}
	}
	c.terms, c.blocks = zeroed(c.terms, len(c.rows)), zeroed(c.blocks, len(c.depths))
	c.ones = 0
	size := t.window()
	windows := (rows + size - 1) / size
	looked, seed := min(windows, mostWindows), uint64(rows)
	seen, most := 0, 0
	for i := range looked {
		lo, hi := i*windows/looked, (i+1)*windows/looked
		seed = seed*6364136223846793005 + 1442695040888963407
		at := lo + int(seed>>33)%(hi-lo)
		r0, r1 := at*size, min((at+1)*size, rows)
		seen += r1 - r0
		most = max(most, s.coverWindow(b, r0, r1))
	}
	down := float64(s.rows) / float64(max(seen, 1))
	along := down * float64(s.depth) / float64(depth)
	for i := range c.terms {
		c.terms[i] *= along
	}
	for i, d := range c.depths {
		if d == s.depth {
			c.blocks[i] *= down
		} else { // of a part of a block, what has something there has so in all of it
			c.blocks[i] *= down * float64(s.depth) / float64(max(d, depth))
		}
	}
	c.ones *= along
	c.some = min(1, float64(most*((s.rows+size-1)/size))/float64(depth))
}

// zeroed is n zeros, in the memory of a list where it has room.
func zeroed(list []float64, n int) []float64 {
	list = slices.Grow(list[:0], n)[:n]
	clear(list)
	return list
}

// coverWindow counts in some rows, and gives the number of k that have something in one of them.
func (s *sparse) coverWindow(b *bitmap, r0, r1 int) (some int) {
	c := &s.covers
	n := r1 - r0
	var all, four [56]bool // rows with something: in all, in a block of 256
	var col [56]uint64
	var twos [28]uint64
	has, quarter := all[:n], four[:n]
	for at := range b.row {
		union := uint64(0)
		for i := r0; i < r1; i++ {
			x := b.bits[i*b.row+at]
			col[i-r0] = x
			union |= x
			if x == 0 {
				continue
			}
			has[i-r0], quarter[i-r0] = true, true
			c.blocks[1]++
			if x&(1<<32-1) != 0 {
				c.blocks[0]++
			}
			if x>>32 != 0 {
				c.blocks[0]++
			}
		}
		if at%4 == 3 || at == b.row-1 {
			for i, q := range quarter {
				if q {
					c.blocks[2]++
					quarter[i] = false
				}
			}
		}
		some += bits.OnesCount64(union)
		if union == 0 {
			continue
		}
		ones := 0
		for i := range (n + 1) / 2 { // rows by twos, of which all but single ones are made
			x, y := col[2*i], uint64(0)
			if 2*i+1 < n {
				y = col[2*i+1]
			}
			ones += bits.OnesCount64(x) + bits.OnesCount64(y)
			twos[i] = x | y
		}
		c.ones += float64(ones)
		for j, rows := range c.rows {
			sum := ones
			if rows > 1 {
				sum = 0
				for list := twos[:(n+1)/2]; len(list) > 0; {
					x := uint64(0)
					for _, y := range list[:min(rows/2, len(list))] {
						x |= y
					}
					sum += bits.OnesCount64(x)
					list = list[min(rows/2, len(list)):]
				}
			}
			c.terms[j] += float64(sum)
		}
	}
	for _, h := range has {
		if h {
			c.blocks[3]++
		}
	}
	return some
}

// choose finds the way that is expected to take the least time.
func (s *sparse) choose() {
	s.cover(&s.bits, s.rows, s.depth)
	s.dense = s.table.denseCost(s)
	s.best()
}

// best finds the way that takes the least time by what tiles cover.
func (s *sparse) best() {
	c := &s.covers
	s.share = c.ones / max(float64(s.rows)*float64(s.depth), 1)
	s.way = way{dense: true, ns: s.dense}
	if s.d.weigh != nil {
		s.way.ns = s.d.weigh(s.way)
	}
	if s.batch > 0 { // the first one has decided
		s.way.ns = 1e30
	}
	try := func(w way) {
		if s.d.weigh != nil {
			w.ns = s.d.weigh(w)
		}
		if w.ns < s.way.ns*chosenBelow || s.way.ns >= 1e30 {
			s.way = w
		}
	}
	for i, n := range c.rows {
		depth := s.depth
		if depth > mostTerms {
			depth = evenly(depth, mostTerms)
		}
		w := way{rows: n, depth: depth, list: true}
		w.ns = s.table.listCost(s, w, c.terms[i], c.some)
		try(w)
	}
	if s.widely() {
		w := way{rows: 1, depth: s.depth, list: true, wide: true}
		w.ns = s.table.wideCost(s, c.ones)
		try(w)
	}
	for i, depth := range c.depths {
		if depth > s.depth || i > 0 && depth == c.depths[i-1] {
			continue
		}
		if depth == s.depth && depth > mostTerms {
			continue
		}
		w := way{rows: s.cut.mr, depth: depth}
		w.ns = s.table.blockCost(s, w, c.blocks[i])
		try(w)
	}
}

const (
	mostTerms   = 4096 // of a call: it is to take less than 200 µs
	chosenBelow = 0.97 // of what another way is expected to take: what is about the same is left alone
)

// evenly cuts n in parts of most at most, in whole words.
func evenly(n, most int) int {
	parts := (n + most - 1) / most
	return ((n+parts-1)/parts + 63) / 64 * 64
}

// make finds groups for the way that was chosen.
func (p *selection) make(s *sparse) {
	p.groups, p.chunks, p.portions, p.order, p.some, p.zero = p.groups[:0], p.chunks[:0], p.portions[:0], p.order[:0], p.some[:0], p.zero[:0]
	p.slots = slices.Grow(p.slots[:0], s.rows)[:s.rows]
	p.sums = s.way.depth < s.depth
	each := s.chunkRows()
	chunks, groups := 0, 0 // where the portion begins
	p.packed, p.listed = 0, 0
	for row := 0; row < s.rows; row += each {
		c := chunk{row: row, rows: min(each, s.rows-row), group: len(p.groups), slot: len(p.some), zero: len(p.zero)}
		order, packed, listed := len(p.order), p.packed, p.listed
		if s.way.list {
			p.lists(s, c)
		} else {
			p.blocks(s, c)
		}
		c.groups = len(p.groups) - c.group
		p.place(c, p.order[order:])
		c.slots, c.zeros = len(p.some)-c.slot, len(p.zero)-c.zero
		if roundUp(int64(p.packed), lineFloats)+int64(p.listed) > s.p.gatherRoom() { // it is of the portion to come
			p.portions = append(p.portions, portion{p.chunks[chunks:], p.groups[groups:c.group], packed, listed})
			chunks, groups = len(p.chunks), c.group
			for i := range p.groups[groups:] {
				g := &p.groups[groups+i]
				if g.panel -= packed; g.list >= 0 {
					g.list -= listed
				}
			}
			p.packed, p.listed = p.packed-packed, p.listed-listed
		}
		p.chunks = append(p.chunks, c)
	}
	p.portions = append(p.portions, portion{p.chunks[chunks:], p.groups[groups:], p.packed, p.listed})
}

// place finds which rows of a chunk groups are made of.
func (p *selection) place(c chunk, order []int32) {
	slots := p.slots[c.row : c.row+c.rows]
	for i := range slots {
		slots[i] = -1
	}
	for _, r := range order {
		slots[int(r)-c.row] = 0
	}
	for i, at := range slots {
		if at < 0 {
			p.zero = append(p.zero, int32(c.row+i))
			continue
		}
		slots[i] = int32(len(p.some) - c.slot)
		p.some = append(p.some, int32(c.row+i))
	}
}

// lists makes groups of rows beside each other.
func (p *selection) lists(s *sparse, c chunk) {
	for k0 := 0; k0 < s.depth; k0 += s.way.depth {
		w0, w1 := k0/64, (min(k0+s.way.depth, s.depth)+63)/64
		for r := c.row; r < c.row+c.rows; r += s.way.rows {
			count, size := 0, min(s.way.rows, c.row+c.rows-r)
			for at := w0; at < w1; at++ {
				x := uint64(0)
				for i := r; i < r+size; i++ {
					x |= s.bits.bits[i*s.bits.row+at]
				}
				count += bits.OnesCount64(x)
			}
			if count == 0 {
				continue
			}
			p.groups = append(p.groups, group{first: int32(len(p.order)), n: int32(size), k0: int32(k0), count: int32(count), list: p.listed, panel: p.packed})
			for i := range size {
				p.order = append(p.order, int32(r+i))
			}
			p.packed += size * count
			p.listed += count + listAhead
		}
	}
}

// blocks makes groups of rows that have something in a block, wherever they lie.
func (p *selection) blocks(s *sparse, c chunk) {
	for k0 := 0; k0 < s.depth; k0 += s.way.depth {
		from, depth := len(p.order), min(s.way.depth, s.depth-k0)
		for r := c.row; r < c.row+c.rows; r++ {
			if s.bits.has(r, k0, depth) {
				p.order = append(p.order, int32(r))
			}
		}
		n := len(p.order) - from
		if n == 0 {
			continue
		}
		even := rowPanels{int64(n), int64((n + s.way.rows - 1) / s.way.rows)}
		for i := range even.n {
			g := group{first: int32(from + int(even.start(i))), n: int32(even.size(i)), k0: int32(k0), count: int32(depth), list: -1, panel: p.packed}
			p.groups = append(p.groups, g)
			p.packed += int(g.n) * depth
		}
	}
}

// has says whether a row has something in a block of k.
func (b *bitmap) has(r, k0, depth int) bool {
	words := b.of(r)
	if depth == 32 { // half a word
		return words[k0/64]>>(k0%64)&(1<<32-1) != 0
	}
	for _, x := range words[k0/64 : min((k0+depth+63)/64, len(words))] {
		if x != 0 {
			return true
		}
	}
	return false
}

// chunkRows is how many rows go together: as many as there is room for whatever they have, and where their parts are put
// together in a place of their own, as many as stay near with it.
func (s *sparse) chunkRows() int {
	most := s.p.gatherRows()
	if s.compact() {
		most = min(most, s.p.compactRows(s.cut))
	}
	if s.rows <= most {
		return s.rows
	}
	chunks := (s.rows + most - 1) / most
	return int(roundUp(int64((s.rows+chunks-1)/chunks), chunkUnit))
}

// compact says whether rows of the result are put together beside each other first.
func (s *sparse) compact() bool { return s.way.depth < s.depth || !s.beside }
