package cuda

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/runtime/cuda/ptx"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// code is a program made ready for sizes.
type code struct {
	*interp.Code
	p      *ir.Program
	number map[*ir.Buffer]int
	groups []*group // by their first stage; nil: the stage runs on the host
	why    []string // why it does
	early  []bool   // of buffers that the host needs as soon as they are there: a scatter starts with them
}

// group is stages that a kernel computes, and kernels that run before it.
type group struct {
	count  int
	cut    *kernel.Cut
	fn     *function
	before []*group
}

// fails says whether a kernel of the group may meet an index that is out of its dim.
func (g *group) fails() bool { return g.cut.MayFail || slices.ContainsFunc(g.before, (*group).fails) }

// perMultiprocessor is how many pieces a kernel is cut into for each multiprocessor, where it
// has so many: twice the warps that it holds. Pieces are leastOps long, so that what a warp does before its first
// operation does not count.
const (
	perMultiprocessor = 128
	leastOps          = 16
)

// mostOps is how many operations a point of a kernel's box may take: tens of ms of one warp, in which a run is not
// stopped. What takes more is left to the host.
const mostOps = 1 << 20

func (d *Device) newCode(p *ir.Program, bind []int64) (*code, error) {
	in, err := interp.Compile(p, bind)
	if err != nil {
		return nil, err
	}
	c := &code{Code: in, p: p, number: map[*ir.Buffer]int{}, groups: make([]*group, len(in.Stages)), why: make([]string, len(in.Stages))}
	for _, list := range [][]*ir.Buffer{p.Params, p.Results, p.Temps()} {
		for _, b := range list {
			c.number[b] = len(c.number)
		}
	}
	c.early = make([]bool, len(c.number))
	for _, s := range p.Stages {
		if s.Base != nil {
			c.early[c.number[s.Base]] = true
		}
	}
	return c, d.plan(c)
}

// plan gives the stages of a program to kernels.
func (d *Device) plan(c *code) error {
	if len(c.Stages) == 0 {
		return nil
	}
	symbol := c.Stages[0].Symbol
	repeats, ok := kernel.BroadcastsOf(c.p, symbol)
	if !ok {
		return nil // the closures tell what does not broadcast
	}
	o := options()
	o.Repeats = repeats.Repeats
	s := d.codes.schedule(scheduleID{c.p, repeats.Key}, o)
	for i, why := range s.Refused {
		c.why[i] = why
	}
	for _, g := range s.Groups {
		x, why, err := d.group(s, g.Kernel, symbol)
		for _, k := range g.Before {
			if why != nil || err != nil {
				break
			}
			var b *group
			if b, why, err = d.group(s, k, symbol); b != nil {
				x.before = append(x.before, b)
			}
		}
		switch {
		case err != nil:
			return err
		case why != nil:
			for i := range g.Count {
				c.why[g.First+i] = why.Error()
			}
			continue
		}
		x.count = g.Count
		c.groups[g.First] = x
		c.Join(g.First, g.Count)
	}
	return nil
}

// group makes a kernel ready, or says why it can not run.
func (d *Device) group(s *schedule, k *kernel.Kernel, symbol func(string) (int64, bool)) (x *group, why, err error) {
	b, why := k.Bind(symbol)
	if why == nil && b.Least() > mostOps {
		why = fmt.Errorf("%.0g operations can not be cut", b.Least())
	}
	if why != nil {
		return nil, why, nil
	}
	o := ptx.Options{Shared: d.inShared(b)}
	code, why := s.print(k, o)
	if why != nil {
		return nil, why, nil
	}
	most := max(leastOps, b.Total()/float64(d.info.Multiprocessors*perMultiprocessor))
	x = &group{cut: b.Cut(most)}
	if !b.Empty() {
		x.fn, err = d.function(k, code, o)
	}
	return x, nil, err
}

// codes keeps programs that were made ready.
type codes struct {
	mu        sync.Mutex
	byID      map[codeID]*code
	schedules map[scheduleID]*schedule
}

type codeID struct {
	p    *ir.Program
	bind string
}

// scheduleID says what a schedule depends on.
type scheduleID struct {
	p       *ir.Program
	repeats string
}

// schedule is one with its kernels as PTX, which all sizes share.
type schedule struct {
	*kernel.Schedule
	printed sync.Map // *ptx.Code by printing
}

type printing struct {
	k *kernel.Kernel
	o ptx.Options
}

// print gives a kernel as PTX, printed once.
func (s *schedule) print(k *kernel.Kernel, o ptx.Options) (*ptx.Code, error) {
	if c, ok := s.printed.Load(printing{k, o}); ok {
		return c.(*ptx.Code), nil
	}
	c, err := ptx.Print(k, o)
	if err != nil {
		return nil, err
	}
	kept, _ := s.printed.LoadOrStore(printing{k, o}, c)
	return kept.(*ptx.Code), nil
}

// maxCodes bounds how many are kept.
const maxCodes = 1024

func (c *codes) get(d *Device, p *ir.Program, bind []int64) (*code, error) {
	var id []byte
	for _, n := range bind {
		id = binary.AppendVarint(id, n)
	}
	key := codeID{p, string(id)}
	c.mu.Lock()
	x := c.byID[key]
	c.mu.Unlock()
	if x != nil {
		return x, nil
	}
	x, err := d.newCode(p, bind)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byID) >= maxCodes || c.byID == nil {
		c.byID = map[codeID]*code{}
	}
	if c.byID[key] == nil { // else another caller was there first
		c.byID[key] = x
	}
	return c.byID[key], nil
}

// schedule gives a schedule that is kept, or makes it.
func (c *codes) schedule(id scheduleID, o kernel.Options) *schedule {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.schedules[id]
	if s == nil {
		s = &schedule{Schedule: kernel.New(id.p, o)}
		if len(c.schedules) >= maxCodes || c.schedules == nil {
			c.schedules = map[scheduleID]*schedule{}
		}
		c.schedules[id] = s
	}
	return s
}
