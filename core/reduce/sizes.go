package reduce

import (
	"bytes"
	"maps"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// symbols puts sizes in the place of symbols: of all, then of each.
func (r *reducer) symbols() {
	list := symbols(r.m)
	fix := func(list ...string) bool {
		return r.try(func(m *ir.Module) bool {
			with := map[string]sym.Expr{}
			for _, s := range list {
				with[s] = sym.Const(r.Size(s))
			}
			substitute(m, with)
			return true
		})
	}
	if len(list) == 0 || fix(list...) {
		return
	}
	for _, s := range list {
		fix(s)
	}
}

// knowledge takes away what is known of symbols.
func (r *reducer) knowledge() {
	r.try(func(m *ir.Module) bool {
		c := sym.NewContext()
		known := len(m.Syms.Equalities()) > 0 || len(m.Syms.LEs()) > 0
		for _, s := range m.Syms.Symbols() {
			lo, hi := m.Syms.Range(s)
			known = known || lo > 0 || hi != sym.Inf || m.Syms.Multiple(s) > 1
		}
		for _, s := range symbols(m) {
			c.Reserve(s)
		}
		m.Syms = c
		return known
	})
}

// numbers makes sizes smaller: 384 to 12, and with it 1536 to 48.
func (r *reducer) numbers() {
	tried := map[int64]bool{}
	for n, ok := r.largest(tried); ok; n, ok = r.largest(tried) {
		tried[n] = true
		for _, to := range []int64{1, 2, n / 2, n - 1} {
			if to < n && to > 0 && (r.scale(n, to, true) || r.scale(n, to, false)) {
				break
			}
		}
	}
}

// largest is the largest size that was not tried yet.
func (r *reducer) largest(tried map[int64]bool) (int64, bool) {
	sizes := map[int64]bool{}
	eachExpr(r.m, func(e sym.Expr) {
		if n, ok := e.Int(); ok && n > 1 && !tried[n] {
			sizes[n] = true
		}
	})
	for _, c := range r.m.Consts {
		for _, n := range c.Tensor.Shape() {
			if n > 1 && !tried[n] {
				sizes[n] = true
			}
		}
	}
	if len(sizes) == 0 {
		return 0, false
	}
	return slices.Max(slices.Collect(maps.Keys(sizes))), true
}

// scale makes every size that is a multiple of from smaller by the same factor; of small
// tensors of integers, which are shapes, and of attributes, what they hold where contents
// are meant.
func (r *reducer) scale(from, to int64, contents bool) bool {
	done := false
	number := func(n int64) int64 {
		if n >= from && n%from == 0 && n < 1<<40 {
			done = true
			return n / from * to
		}
		return n
	}
	dim := func(e sym.Expr) sym.Expr {
		if n, ok := e.Int(); ok {
			return sym.Const(number(n))
		}
		return e
	}
	typ := func(t ir.Type) ir.Type { return ir.MapDims(t, dim) }
	return r.try(func(m *ir.Module) bool {
		f := m.Main()
		for _, p := range f.Params {
			p.Type = typ(p.Type)
		}
		f.Walk(func(s *ir.Stmt) {
			for _, r := range s.Regions {
				for _, p := range r.Params {
					p.Type = typ(p.Type)
				}
			}
			for _, v := range s.Results {
				if v != nil {
					v.Type = typ(v.Type)
				}
			}
			for i, e := range s.Bind {
				s.Bind[i] = dim(e)
			}
			if bytes, ok := s.AllocBytes(); ok {
				s.Attrs = s.Attrs.With("bytes", dim(bytes).String())
			}
			for i, a := range s.Attrs {
				s.Attrs[i].Value = scaleAttr(a.Value, typ, number, contents)
			}
		})
		for i, c := range m.Consts {
			x := c.Tensor
			if !contents || !x.DType().IsInt() || x.Len() > ir.MaxKnown {
				setTensor(m, i, crop(x, number))
				continue
			}
			x = x.Clone()
			for j := range x.Len() {
				x.SetInt(j, number(x.Int(j)))
			}
			setTensor(m, i, x)
		}
		for _, p := range m.Programs {
			scaleProgram(p, dim)
		}
		return done
	})
}

func scaleAttr(v any, typ func(ir.Type) ir.Type, number func(int64) int64, contents bool) any {
	switch v := v.(type) {
	case ir.Type:
		return typ(v)
	case []int64:
		if contents {
			out := make([]int64, len(v))
			for i, n := range v {
				out[i] = number(n)
			}
			return out
		}
	case int64:
		if contents {
			return number(v)
		}
	}
	return v
}

// setTensor gives constant i another tensor.
func setTensor(m *ir.Module, i int, x *tensor.Tensor) {
	old := m.Consts[i]
	n := &ir.Const{Name: old.Name, Tensor: x}
	if x == old.Tensor {
		return
	}
	m.Consts[i] = n
	for _, f := range m.Funcs {
		f.ReplaceUses(0, old.Value(), n.Value())
	}
}

// crop is the part of a tensor from its origin on that has the sizes that number gives.
func crop(x *tensor.Tensor, number func(int64) int64) *tensor.Tensor {
	shape := make([]int64, x.Rank())
	same := true
	for i, n := range x.Shape() {
		shape[i] = number(n)
		same = same && shape[i] == n
	}
	if same {
		return x
	}
	out := tensor.New(x.DType(), shape...)
	at := make([]int64, len(shape))
	for i := range out.Len() {
		from := int64(0)
		for d, n := range x.Shape() {
			from = from*n + at[d]
		}
		tensor.CopyElem(out, i, x, from)
		for d := len(at) - 1; d >= 0; d-- {
			if at[d]++; at[d] < shape[d] {
				break
			}
			at[d] = 0
		}
	}
	return out
}

func scaleProgram(p *ir.Program, dim func(sym.Expr) sym.Expr) {
	for _, list := range [][]*ir.Buffer{p.Params, p.Results, p.Temps()} {
		for _, b := range list {
			for i, d := range b.Dims {
				b.Dims[i] = dim(d)
			}
		}
	}
	for _, s := range p.Stages {
		for _, a := range s.AllAxes() {
			a.Extent = dim(a.Extent)
		}
		s.Rewrite(func(x *ir.Scalar) *ir.Scalar {
			switch x.Op {
			case ir.OpSym:
				return ir.SymVal(dim(x.Sym))
			case ir.OpBcast:
				d, _ := x.Args[1].Symbolic()
				extent, _ := x.Args[2].Symbolic()
				return ir.Bcast(x.Args[0], dim(d), dim(extent))
			}
			return x
		})
	}
}

// constants makes what constants hold simple: zeros, or else ones.
func (r *reducer) constants() {
	count := func(m *ir.Module) int { return len(m.Consts) }
	fill := func(n int64) func(m *ir.Module, lo, hi int) bool {
		return func(m *ir.Module, lo, hi int) (done bool) {
			for i := lo; i < hi; i++ {
				old := m.Consts[i].Tensor
				d := old.DType()
				if d == tensor.String || d == tensor.Bool || d.IsComplex() || d.IsInt() && old.Len() <= ir.MaxKnown || alike(old) {
					continue // small integers are axes and shapes
				}
				x := tensor.New(d, old.Shape()...)
				for j := range x.Len() {
					if n != 0 {
						x.SetFloat(j, float64(n))
					}
				}
				setTensor(m, i, x)
				done = done || x.Len() > 0
			}
			return done
		}
	}
	r.ranges(count, fill(0))
	r.ranges(count, fill(1))
}

// ranges tries a change of ranges of parts, large ones first. The number of parts stays.
func (r *reducer) ranges(count func(*ir.Module) int, change func(m *ir.Module, lo, hi int) bool) {
	n := count(r.m)
	for size := n; size > 0; size /= 2 {
		for lo := 0; lo < n; lo += size {
			r.try(func(m *ir.Module) bool { return change(m, lo, min(lo+size, n)) })
		}
	}
}

// alike says whether all elements of a tensor are the same.
func alike(x *tensor.Tensor) bool {
	if x.Len() == 0 {
		return true
	}
	if w := x.DType().Bits() / 8; w > 0 && x.DType() != tensor.String {
		return bytes.Equal(x.Bytes()[w:], x.Bytes()[:len(x.Bytes())-w])
	}
	first := x.AppendText(nil, 0)
	for i := range x.Len() {
		if string(x.AppendText(nil, i)) != string(first) {
			return false
		}
	}
	return true
}
