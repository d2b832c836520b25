package runtime

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sync/atomic"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/diag"
)

// A group whose sizes the run tells later than those of others is placed when they are known:
// first in what the slabs that are in use leave for as long as it lives, and what does not fit
// there in a slab of its own. A slab goes back when all groups that have something in it have left.

// slab is where a group lies in a frame; one without a layout is not there yet.
type slab struct {
	layout *layout
	in     []*memory // as the layout counts them: its own, and others; nil entry: one that it has no part of
}

// memory is that of a slab.
type memory struct {
	bytes []byte
	id    int64 // of the layout that it was made for
	users int   // groups that lie in it
}

// spot is a share that has its place.
type spot struct {
	life     analysis.Life
	at, size int64
}

// room is a slab that is in use, as what is placed sees it.
type room struct {
	total int64
	spots []spot
}

// layoutIDs numbers layouts, of all groups.
var layoutIDs atomic.Int64

// among moves what fits into slabs that are in use there. own says where the shares lie in a slab
// by themselves, which is changed to hold what is left: as little as some orders find. What has its place then is noted in rooms.
func (g *group) among(own *layout, rooms []room) error {
	if len(rooms) == 0 {
		return nil
	}
	best, there := int64(math.MaxInt64), int64(0)
	for i := range rooms {
		there += rooms[i].total
	}
	in, used, offsets, left := make([]int, len(g.shares)), make([]bool, len(rooms)), make([]int64, len(g.shares)), make([]int64, len(g.shares))
	at, kept := make([]int64, len(left)), make([]room, len(rooms))
	for order := range g.placer.Orders(own.sizes) {
		clear(in)
		clear(used)
		copy(left, own.sizes)
		beside := make([]room, len(rooms))
		for i, r := range rooms {
			beside[i] = room{r.total, slices.Clone(r.spots)}
		}
		for _, i := range order {
			size := analysis.Aligned(own.sizes[i])
			if size == 0 {
				continue
			}
			to, from := -1, int64(0)
			for r, least := 0, int64(math.MaxInt64); r < len(beside); r++ {
				if at, gap := beside[r].gap(g.shares[i].life, size); gap < least {
					to, from, least = r, at, gap
				}
			}
			if to >= 0 {
				in[i], used[to], offsets[i], left[i] = to+1, true, from, 0
				beside[to].take(spot{g.shares[i].life, from, size})
			}
		}
		total, ok := g.placer.Place(left, at)
		if !ok {
			return diag.New(diag.Run, "what the run computes is too large: storages of %v bytes", own.sizes)
		}
		if total < best {
			best = total
			copy(kept, beside)
			own.total, own.in, own.used = total, slices.Clone(in), slices.Clone(used)
			for i := range at {
				if own.offsets[i] = offsets[i]; in[i] == 0 {
					own.offsets[i] = at[i]
				}
			}
		}
		if best <= there/16 { // no order is asked for to gain less
			break
		}
	}
	copy(rooms, kept)
	return nil
}

// take notes what has its place. Spots are in the order of their places.
func (r *room) take(s spot) {
	i, _ := slices.BinarySearchFunc(r.spots, s.at, func(x spot, at int64) int { return cmp.Compare(x.at, at) })
	r.spots = slices.Insert(r.spots, i, s)
}

// gap is the smallest gap that size bytes fit in during a life, and how large it is; there is none
// where that is the largest integer.
func (r *room) gap(life analysis.Life, size int64) (from, gap int64) {
	gap = math.MaxInt64
	end := int64(0)
	beside := func(at int64) {
		if n := at - end; n >= size && n < gap {
			from, gap = end, n
		}
	}
	for i := range r.spots {
		if p := &r.spots[i]; p.size > 0 && p.life.Overlaps(life) {
			beside(p.at)
			end = max(end, p.at+analysis.Aligned(p.size))
		}
	}
	beside(r.total)
	return from, gap
}

// rooms are the slabs of a frame that are in use, in the order in which they were made.
func (f *frame) rooms() []room {
	out := make([]room, len(f.memories))
	for i, m := range f.memories {
		out[i].total = int64(len(m.bytes))
	}
	for n := range f.slabs {
		s := &f.slabs[n]
		if s.layout == nil {
			continue
		}
		for i, x := range f.c.groups[n].shares {
			r := &out[slices.Index(f.memories, s.in[s.layout.home(i)])]
			r.spots = append(r.spots, spot{x.life, s.layout.offsets[i], s.layout.sizes[i]})
		}
	}
	for i := range out {
		slices.SortFunc(out[i].spots, func(a, b spot) int { return cmp.Compare(a.at, b.at) })
	}
	return out
}

// home is which memory a share lies in: 0 the group's own.
func (l *layout) home(i int) int {
	if l.in == nil {
		return 0
	}
	return l.in[i]
}

// surroundings appends what tells apart what a group is placed among.
func (f *frame) surroundings(key []byte) []byte {
	for _, m := range f.memories {
		key = binary.AppendVarint(key, m.id)
	}
	for n := range f.slabs {
		if l := f.slabs[n].layout; l != nil && len(f.memories) > 0 {
			key = binary.AppendVarint(binary.AppendVarint(key, int64(n)), l.id)
		}
	}
	return key
}

// slab gives the memory of a group in a frame.
func (mc *machine) slab(f *frame, g *group) (*slab, error) {
	s := &f.slabs[g.n]
	if s.layout != nil {
		return s, nil
	}
	for _, i := range g.symbols {
		if !f.bound(i) {
			return nil, diag.New(diag.Run, "the size of a storage can not be computed: symbol %q has no value here", f.c.symbols[i])
		}
	}
	l, err := mc.layout(f, g)
	if err != nil {
		return nil, err
	}
	b, err := mc.mem.slab(l.total)
	if err != nil {
		return nil, err
	}
	own := mc.memories.Get()
	own.bytes, own.id = b, l.id
	own.users = 1
	s.in = append(s.in[:0], own)
	for i, used := range l.used {
		m := f.memories[i]
		if !used {
			m = nil
		} else {
			m.users++
		}
		s.in = append(s.in, m)
	}
	f.memories = append(f.memories, own)
	s.layout = l
	return s, nil
}

// bytes is the memory of a share.
func (s *slab) bytes(x *share, size int64) []byte {
	at := s.layout.offsets[x.at]
	return s.in[s.layout.home(x.at)].bytes[at : at+size : at+size]
}

// leave gives up the memory of groups.
func (mc *machine) leave(f *frame, groups []*group) {
	for _, g := range groups {
		s := &f.slabs[g.n]
		if s.layout == nil {
			continue
		}
		for _, m := range s.in {
			if m == nil {
				continue
			}
			if m.users--; m.users == 0 {
				mc.mem.giveBack(m.bytes)
				f.memories = slices.DeleteFunc(f.memories, func(x *memory) bool { return x == m })
				*m = memory{}
				mc.memories.Put(m)
			}
		}
		s.forget()
	}
}

// forget empties a slab, whose memory is given back elsewhere.
func (s *slab) forget() {
	s.layout = nil
	clear(s.in)
	s.in = s.in[:0]
}
