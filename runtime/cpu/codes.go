package cpu

import (
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// code is a program made ready for sizes: what to do of each stage.
type code struct {
	*interp.Code
	products []*product // nil entry: the stage is none, and runs on closures
	parts    []int      // that closures are cut into
	kernels  []*loops   // nil entry: the stage begins none
	plans    []*plan    // what they are of

	alone func() []*loops // the stages one by one, made ready where they are asked for first

	attentions []*attention // nil entry: the stage begins none
	taken      []bool       // stages that are products, or of attentions

	used uint64 // when it was asked for last
}

func (d *Device) newCode(kernel string, p *ir.Program, bind []int64) (*code, error) {
	in, err := interp.Compile(p, bind)
	if err != nil {
		return nil, err
	}
	c := &code{Code: in, products: make([]*product, len(in.Stages)), parts: make([]int, len(in.Stages))}
	for i, s := range in.Stages {
		c.parts[i] = 1
		if kernel == kernelProduct {
			if c.products[i], _ = match(s); c.products[i] != nil {
				c.products[i].identify(p, i, bind)
				c.products[i].identifyRows(p)
				c.products[i].sides = sides(c.products[i], s)
				c.products[i].wanted = wantedOf(c.products[i], s)
			}
		}
		if c.products[i] == nil && s.Parts() && s.Points() > d.alone {
			c.parts[i] = d.threads
		}
	}
	c.attentions = make([]*attention, len(in.Stages))
	c.taken = make([]bool, len(in.Stages))
	for i, g := range c.products {
		c.taken[i] = g != nil
	}
	if kernel == kernelProduct {
		d.attend(c, p)
	}
	d.plan(c, p)
	return c, nil
}

// codes keeps programs that were made ready, so that a run with sizes that were there
// before makes nothing ready. Those that were not used for longest go when they take more
// than the limit together.
type codes struct {
	limit int64 // of bytes; 0: maxCodeBytes

	mu         sync.Mutex
	byID       map[codeID]*code
	plans      map[planID]*plan
	attentions map[attentionID]*attentionCode
	found      map[*ir.Program][]*kernel.Attention // in programs, whatever their sizes
	tick       uint64
	fresh      int // since what all of it takes was counted
}

// codeID says what a program was made ready for.
type codeID struct {
	p      *ir.Program
	kernel string
	bind   string
}

const maxCodeBytes = 16 << 20

func (c *codes) get(d *Device, kernel string, p *ir.Program, bind []int64) (*code, error) {
	var room [128]byte
	id := room[:0]
	for _, n := range bind {
		id = binary.AppendVarint(id, n)
	}
	c.mu.Lock()
	if x := c.byID[codeID{p, kernel, string(id)}]; x != nil {
		c.tick++
		x.used = c.tick
		c.mu.Unlock()
		return x, nil
	}
	c.mu.Unlock()
	x, err := d.newCode(kernel, p, bind)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil {
		c.byID = map[codeID]*code{}
	}
	key := codeID{p, kernel, string(id)}
	if c.byID[key] == nil { // else another caller was there first
		c.makeRoom()
		c.byID[key] = x
	}
	x = c.byID[key]
	c.tick++
	x.used = c.tick
	return x, nil
}

// makeRoom drops the half that was not used for longest, where all of it takes too much. It counts
// when there is an eighth more: a model whose sizes grow from run to run is made ready in each.
func (c *codes) makeRoom() {
	if c.fresh++; c.fresh <= len(c.byID)/8 {
		return
	}
	c.fresh = 0
	total := int64(0)
	for _, x := range c.byID {
		total += x.Bytes()
	}
	limit := c.limit
	if limit == 0 {
		limit = maxCodeBytes
	}
	if total <= limit {
		return
	}
	ticks := make([]uint64, 0, len(c.byID))
	for _, x := range c.byID {
		ticks = append(ticks, x.used)
	}
	slices.Sort(ticks)
	for id, x := range c.byID {
		if x.used < ticks[len(ticks)/2] {
			delete(c.byID, id)
		}
	}
	used, attends := map[*plan]bool{}, map[*attentionCode]bool{}
	for _, x := range c.byID {
		for _, p := range x.plans {
			used[p] = true
		}
		for _, a := range x.attentions {
			if a != nil {
				attends[a.code] = true
			}
		}
	}
	programs := map[*ir.Program]bool{}
	for id := range c.byID {
		programs[id.p] = true
	}
	maps.DeleteFunc(c.found, func(p *ir.Program, _ []*kernel.Attention) bool { return !programs[p] })
	for id, a := range c.attentions {
		if !attends[a] {
			delete(c.attentions, id)
		}
	}
	for id, p := range c.plans {
		if !used[p] {
			delete(c.plans, id)
		}
	}
}

func (c *codes) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.byID)
	clear(c.plans)
	clear(c.attentions)
	clear(c.found)
}
