package runtime

import (
	"context"
	"sync"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Options of an executable.
type Options struct {
	MaxBytes int64  // budget of a run over its intermediate values and results; 0: none
	Seed     uint64 // of random operators that have no seed of their own
}

// Executable is a module ready to run on a device. It is loaded once and called with any
// sizes that its symbols allow, from any number of goroutines.
type Executable struct {
	m     *ir.Module
	dev   Device
	opts  Options
	pool  Pool
	funcs map[*ir.Func]*code

	mu        sync.Mutex
	instances map[instanceKey]*ir.Instance
}

// Load readies a module for a device. The module must not be changed afterwards.
func Load(m *ir.Module, dev Device, o Options) (*Executable, error) {
	if m.Main() == nil {
		return nil, diag.New(diag.Run, "the module has no function @main")
	}
	x := &Executable{m: m, dev: dev, opts: o, funcs: map[*ir.Func]*code{}, instances: map[instanceKey]*ir.Instance{}}
	for _, f := range m.Funcs {
		x.funcs[f] = compile(m, f)
	}
	return x, nil
}

// Run runs @main with inputs in the order of its parameters. Results are the caller's;
// they may share memory with inputs and constants.
func (x *Executable) Run(ctx context.Context, inputs []tensor.Value) ([]tensor.Value, error) {
	out, _, err := x.RunStats(ctx, inputs)
	return out, err
}

// Stats tells of one run.
type Stats struct {
	Took      time.Duration
	PeakBytes int64 // of intermediate values and results at the same time
}

// RunStats is Run, and tells of it.
func (x *Executable) RunStats(ctx context.Context, inputs []tensor.Value) ([]tensor.Value, Stats, error) {
	start := time.Now()
	a := &arena{pool: &x.pool, budget: x.opts.MaxBytes, owned: map[*byte]*piece{}}
	main := x.m.Main()
	mc := &machine{x: x, ctx: ctx, mem: a}
	out, err := mc.call(x.funcs[main], inputs, func(p *ir.Value) string { return "input \"" + p.Name + "\"" })
	a.close(out)
	return out, Stats{time.Since(start), a.peak}, err
}

// RunInto is Run into the caller's tensors, one for each result, of the right type.
func (x *Executable) RunInto(ctx context.Context, inputs []tensor.Value, outputs []*tensor.Tensor) error {
	if len(outputs) != len(x.m.Main().Results) {
		return diag.New(diag.Run, "%d tensors for %d results", len(outputs), len(x.m.Main().Results))
	}
	a := &arena{pool: &x.pool, budget: x.opts.MaxBytes, owned: map[*byte]*piece{}}
	mc := &machine{x: x, ctx: ctx, mem: a}
	out, err := mc.call(x.funcs[x.m.Main()], inputs, func(p *ir.Value) string { return "input \"" + p.Name + "\"" })
	defer a.close(nil)
	if err != nil {
		return err
	}
	for i, v := range out {
		t, ok := v.(*tensor.Tensor)
		name := x.m.Main().ResultName(i)
		if !ok || t.DType() != outputs[i].DType() || !sameShape(t.Shape(), outputs[i].Shape()) {
			return diag.New(diag.Run, "output %q is %v, the tensor given for it is %s%v", name, v, outputs[i].DType(), outputs[i].Shape())
		}
	}
	for i, v := range out {
		t := v.(*tensor.Tensor)
		copy(outputs[i].Bytes(), t.Bytes())
		copy(outputs[i].Strings(), t.Strings())
	}
	return nil
}

func sameShape(a, b []int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Trim gives memory that is kept between runs back.
func (x *Executable) Trim() { x.pool.Trim() }

// code is a function with its symbols and values numbered.
type code struct {
	f      *ir.Func
	syms   map[string]int
	values map[*ir.Value]int
	exprs  map[string]*sym.Code // by key
	local  map[*ir.Block][]int  // symbols that a region binds anew each time
}

func compile(m *ir.Module, f *ir.Func) *code {
	c := &code{f: f, syms: map[string]int{}, values: map[*ir.Value]int{}, exprs: map[string]*sym.Code{}, local: map[*ir.Block][]int{}}
	c.block(&f.Block)
	return c
}

func (c *code) slot(s string) int {
	i, ok := c.syms[s]
	if !ok {
		i = len(c.syms)
		c.syms[s] = i
	}
	return i
}

func (c *code) expr(e sym.Expr) {
	if c.exprs[e.Key()] == nil {
		c.exprs[e.Key()] = e.Compile(c.slot)
	}
}

func (c *code) value(v *ir.Value) {
	if v == nil {
		return
	}
	c.values[v] = len(c.values)
	ir.EachDim(v.Type, c.expr)
}

func (c *code) block(b *ir.Block) {
	before := len(c.syms)
	for _, p := range b.Params {
		c.value(p)
	}
	for _, s := range b.Stmts {
		for _, e := range s.Bind {
			c.expr(e)
		}
		if s.Op != nil && s.Op.Name == ir.AllocName {
			if e, err := sym.Parse(s.Attrs.Get("bytes").(string)); err == nil {
				c.expr(e)
			}
		}
		for _, r := range s.Regions {
			c.block(r)
		}
		for _, v := range s.Results {
			c.value(v)
		}
	}
	for i := before; i < len(c.syms); i++ {
		c.local[b] = append(c.local[b], i)
	}
}
