package kernel

import (
	"fmt"
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// The kernels of an attention over tiles, as tensor programs of a tile. In all of them n is
// rows, c is keys of the tile, d is columns of the values, and a, b, ... with a letter before it is how far the
// rows of a lie apart.

// Leaf is what X reads beside scores: an element, or where the point lies, of which a comparison or a
// conversion makes something. Numbers of the row may take part in a position that is compared.
type Leaf struct {
	Node     *ir.Scalar // a load, or an index
	Position bool
}

// Compares says whether a comparison is one of this position with 0.
func (l Leaf) Compares(c *ir.Scalar) bool {
	return l.Position && c.Op.Compares() && c.Args[0].DType == tensor.I64 && same(l.Node, c.Args[0].Sub(c.Args[1]))
}

// Step is how far a leaf's elements lie apart along rows or keys.
type Step uint8

const (
	Still Step = iota // it is the same element
	Next
	Far
	Back // as Far, but they go backwards: the first element is that of the last row there may be
)

// Steps are those of a leaf.
type Steps struct{ Row, Key Step }

// Leaves gives the leaves of X, each once; why is what there are no kernels for.
func (a *Attention) Leaves() (out []Leaf, why string) {
	a.rewrite(a.X, func(l Leaf) *ir.Scalar {
		if l.Node.Op == ir.OpLoad && a.isScore(l.Node) {
			return l.Node
		}
		if !slices.ContainsFunc(out, func(o Leaf) bool { return o.Position == l.Position && same(o.Node, l.Node) }) {
			out = append(out, l)
		}
		return ir.Lit(l.Node.DType, 0)
	}, &why)
	return out, why
}

func (a *Attention) isScore(x *ir.Scalar) bool { return x.Op == ir.OpLoad && x.Buf == a.Scores.Out() }

// reads says whether a load of some kind is in an expression.
func (a *Attention) reads(x *ir.Scalar, what func(*ir.Scalar) bool) (found bool) {
	x.Walk(func(y *ir.Scalar) bool {
		found = found || y.Op == ir.OpLoad && what(y)
		return !found
	})
	return found
}

// ofKeys says whether something is read that differs from key to key.
func (a *Attention) ofKeys(x *ir.Scalar) bool {
	key := a.Scores.Axes[a.Key]
	return a.reads(x, func(y *ir.Scalar) bool {
		return slices.ContainsFunc(y.Args, func(i *ir.Scalar) bool { return along(i, key) })
	})
}

// rewrite replaces the leaves of X, or of what is made of it. A position that is compared is the difference of both
// sides, and what stands for it is f32; what is read in it is of the row alone.
func (a *Attention) rewrite(of *ir.Scalar, f func(Leaf) *ir.Scalar, why *string) *ir.Scalar {
	done := map[*ir.Scalar]*ir.Scalar{}
	var visit func(x *ir.Scalar) *ir.Scalar
	position := func(x *ir.Scalar) *ir.Scalar {
		if y := f(Leaf{x, true}); y.DType == tensor.F32 {
			return y
		}
		return ir.Lit(tensor.F32, 0)
	}
	compute := func(x *ir.Scalar) *ir.Scalar {
		_, known := x.Symbolic()
		switch {
		case x.Op == ir.OpLit:
			return x
		case x.Op == ir.OpLoad:
			return f(Leaf{x, false})
		case x.Op == ir.OpGuard || x.Op == ir.OpBcast || x.DType == tensor.I64:
			*why = fmt.Sprintf("%s of %s between scores and weights", x.Op, x.DType)
			return x
		case x.Op.Compares() && x.Args[0].DType == tensor.I64 && !a.ofKeys(x):
			y := *x
			d := position(x.Args[0].Sub(x.Args[1]))
			y.Args = []*ir.Scalar{d, d.Const(0)}
			return &y
		case x.Op == ir.OpCast && x.Args[0].DType == tensor.I64 && x.DType == tensor.F32 && x.Args[0].Op != ir.OpLoad && !known:
			if a.reads(x.Args[0], func(*ir.Scalar) bool { return true }) {
				*why = "a number made of positions and what is read"
			}
			return position(x.Args[0])
		case x.Op == ir.OpCast && x.Args[0].DType == tensor.I64 && x.Args[0].Op != ir.OpLoad:
			return x
		}
		y := *x
		y.Args = nil
		for _, arg := range x.Args {
			y.Args = append(y.Args, visit(arg))
		}
		return &y
	}
	visit = func(x *ir.Scalar) *ir.Scalar {
		y := done[x]
		if y == nil {
			y = compute(x)
			done[x] = y
		}
		return y
	}
	return visit(of)
}

// Tile is a tensor program of a tile, and what is what in it.
type Tile struct {
	*ir.Program
	Leaves []*ir.Buffer // by leaf: its elements; of a position, what is known of rows
	named  map[string]*ir.Buffer
}

// Named is a buffer of the program.
func (t *Tile) Named(name string) *ir.Buffer { return t.named[name] }

// tiles makes tensor programs of tiles.
type tiles struct {
	*Tile
}

func newTile(name string) tiles {
	return tiles{&Tile{Program: &ir.Program{Name: name}, named: map[string]*ir.Buffer{}}}
}

func (t tiles) buffer(name string, d tensor.DType, dims ...sym.Expr) *ir.Buffer {
	b := &ir.Buffer{Name: name, DType: d, Dims: dims}
	t.named[name] = b
	return b
}

func (t tiles) param(name string, dims ...sym.Expr) *ir.Buffer {
	b := t.buffer(name, tensor.F32, dims...)
	t.Params = append(t.Params, b)
	return b
}

// stage adds a stage over some axes, and over a reduced one.
func (t tiles) stage(out *ir.Buffer, axes []*ir.Axis, m ir.Monoid, red *ir.Axis, x *ir.Scalar) *ir.Buffer {
	s := &ir.Stage{Kind: ir.MapStage, Outs: []*ir.Buffer{out}, Axes: axes, Exprs: []*ir.Scalar{x}}
	if m != ir.NoMonoid {
		s.Kind, s.Monoid, s.Red = ir.ReduceStage, m, []*ir.Axis{red}
	}
	t.Stages = append(t.Stages, s)
	return out
}

func (t tiles) result(b *ir.Buffer) *ir.Buffer {
	t.Results = append(t.Results, b)
	return b
}

// apart makes a buffer of rows that lie so far from each other.
func apart(b *ir.Buffer, stride string) *ir.Buffer {
	b.Room = []sym.Expr{b.Dims[0], sym.Var(stride)}
	return b
}

// Tiles are the kernels of a block of keys, one behind the other: a row by itself would wait for each of them.
type Tiles struct {
	Top     *Tile // x[n, c] of scores s[n, c], in their place, and the largest of each row and of what t[n] has
	State   *Tile // brings m[n], the largest X so far, and l[n], the sum of weights, to what t makes of them; f[n] and by[n] are what Weights needs
	Weights *Tile // s[n, c], which become exp(X - m), their sum l[n], and sums of values o[n, d], to which what the new keys add comes on top
	First   *Tile // as Weights, where there are no sums of values yet
}

// Softmax is what is to be done with the scores of some keys before their values are added. What rows are NaN
// shows in l: m may be anything there.
func (a *Attention) Softmax(steps []Steps) (ts Tiles, err error) {
	n, c, d := sym.Var("n"), sym.Var("c"), sym.Var("d")
	axis := func(e sym.Expr) *ir.Axis { return &ir.Axis{Extent: e} }
	load := func(b *ir.Buffer, axes ...*ir.Axis) *ir.Scalar { return ir.Load(b, ir.Ix(axes)...) }
	if ts.Top, err = a.Top(a.X, steps, false); err != nil {
		return ts, err
	}

	t := newTile("state")
	m, l := t.param("m", n), t.param("l", n)
	top := t.param("t", n)
	r := axis(n)
	m1 := t.stage(t.result(t.buffer("m1", tensor.F32, n)), []*ir.Axis{r}, ir.NoMonoid, nil, ir.Select(load(top, r).Gt(load(m, r)), load(top, r), load(m, r)))
	r = axis(n)
	v := load(m1, r)
	// Where all is masked so far, weights are 0.
	f := t.stage(t.result(t.buffer("f", tensor.F32, n)), []*ir.Axis{r}, ir.NoMonoid, nil, ir.Select(v.Eq(v.Const(math.Inf(-1))), v.Const(0), v))
	r = axis(n)
	by := t.stage(t.result(t.buffer("by", tensor.F32, n)), []*ir.Axis{r}, ir.NoMonoid, nil, load(m, r).Sub(load(f, r)).Exp())
	r = axis(n)
	t.stage(t.result(t.buffer("l1", tensor.F32, n)), []*ir.Axis{r}, ir.NoMonoid, nil, load(l, r).Mul(load(by, r)))
	t.Finish()
	ts.State = t.Tile

	weights := func(name string, sums bool) *Tile {
		t := newTile(name)
		s := apart(t.param("s", n, c), "as")
		f, l := t.param("f", n), t.param("l", n)
		i, j := axis(n), axis(c)
		p := t.stage(apart(t.result(t.buffer("p", tensor.F32, n, c)), "as"), []*ir.Axis{i, j}, ir.NoMonoid, nil, load(s, i, j).Sub(load(f, i)).Exp())
		r, k := axis(n), axis(c)
		sum := t.stage(t.buffer("sum", tensor.F32, n), []*ir.Axis{r}, ir.Sum, k, load(p, r, k))
		r = axis(n)
		t.stage(t.result(t.buffer("l1", tensor.F32, n)), []*ir.Axis{r}, ir.NoMonoid, nil, load(l, r).Add(load(sum, r)))
		if sums {
			by, o := t.param("by", n), apart(t.param("o", n, d), "ao")
			i, j = axis(n), axis(d)
			t.stage(apart(t.result(t.buffer("o1", tensor.F32, n, d)), "ao"), []*ir.Axis{i, j}, ir.NoMonoid, nil, load(o, i, j).Mul(load(by, i)))
		}
		t.Finish()
		return t.Tile
	}
	ts.Weights, ts.First = weights("weights", true), weights("first", false)
	return ts, nil
}

// Top is the first kernel of some keys, where X is x: a.X, or what that is where a mask leaves everything. With shown,
// that is where shown[n, c] says so, and elsewhere X is minus infinity.
func (a *Attention) Top(x *ir.Scalar, steps []Steps, shown bool) (*Tile, error) {
	n, c := sym.Var("n"), sym.Var("c")
	axis := func(e sym.Expr) *ir.Axis { return &ir.Axis{Extent: e} }
	load := func(b *ir.Buffer, axes ...*ir.Axis) *ir.Scalar { return ir.Load(b, ir.Ix(axes)...) }
	leaves, why := a.Leaves()
	if why != "" || len(leaves) != len(steps) {
		return nil, fmt.Errorf("%s", why)
	}
	t := newTile("top")
	s := apart(t.param("s", n, c), "as")
	t.Leaves = make([]*ir.Buffer, len(leaves))
	from := s
	if shown || !a.isScore(x) {
		i, j := axis(n), axis(c)
		y := a.rewrite(x, func(f Leaf) *ir.Scalar {
			if !f.Position && a.isScore(f.Node) {
				return load(s, i, j)
			}
			at := slices.IndexFunc(leaves, func(o Leaf) bool { return o.Position == f.Position && same(o.Node, f.Node) })
			return t.leaf(at, leaves[at], steps[at], i, j)
		}, &why)
		if shown {
			b := apart(t.buffer("shown", tensor.Bool, n, c), "as")
			t.Params = append(t.Params, b)
			y = ir.Select(load(b, i, j), y, y.Const(math.Inf(-1)))
		}
		from = t.stage(apart(t.result(t.buffer("x", tensor.F32, n, c)), "as"), []*ir.Axis{i, j}, ir.NoMonoid, nil, y)
	}
	r, k := axis(n), axis(c)
	top := t.stage(t.buffer("most", tensor.F32, n), []*ir.Axis{r}, ir.Max, k, load(from, r, k))
	r = axis(n)
	was := t.param("t", n)
	t.stage(t.result(t.buffer("t1", tensor.F32, n)), []*ir.Axis{r}, ir.NoMonoid, nil, ir.Select(load(top, r).Gt(load(was, r)), load(top, r), load(was, r)))
	t.Finish()
	return t.Tile, nil
}

// leaf is what stands for leaf i at a point.
func (t tiles) leaf(i int, l Leaf, s Steps, row, key *ir.Axis) *ir.Scalar {
	b := t.Leaves[i]
	if l.Position {
		if b == nil {
			b = t.param(fmt.Sprintf("at%d", i), sym.Var("n"))
			t.Leaves[i] = b
		}
		x := ir.Load(b, row.Ix())
		if s.Key == Still {
			return x
		}
		at := t.named["position"]
		if at == nil {
			at = t.param("position", sym.Var("c"))
		}
		return x.Add(ir.Load(at, key.Ix()).Mul(ir.SymVal(sym.Var(fmt.Sprintf("c%d", i))).To(tensor.F32)))
	}
	if b == nil {
		b = t.buffer(fmt.Sprintf("leaf%d", i), l.Node.DType, sym.Var(fmt.Sprintf("n%d", i)))
		t.Params = append(t.Params, b)
		t.Leaves[i] = b
	}
	along := func(s Step, a *ir.Axis, name string) *ir.Scalar {
		switch s {
		case Still:
			return ir.IntLit(0)
		case Next:
			return a.Ix()
		case Back:
			return ir.SymVal(a.Extent.Sub(sym.Const(1))).Sub(a.Ix()).Mul(ir.SymVal(sym.Var(fmt.Sprintf("%s%d", name, i))))
		}
		return a.Ix().Mul(ir.SymVal(sym.Var(fmt.Sprintf("%s%d", name, i))))
	}
	return ir.Load(b, along(s.Row, row, "r").Add(along(s.Key, key, "c")))
}

// Finish divides the sums o[n, d] of values by those of weights, y[n, d]: a row in which nothing
// counts is NaN, or where weights are safe z[d], which is values times 0.
func (a *Attention) Finish() *Tile {
	t := newTile("divided")
	n, d := sym.Var("n"), sym.Var("d")
	o, m, l := apart(t.param("o", n, d), "ao"), t.param("m", n), t.param("l", n)
	i, j := &ir.Axis{Extent: n}, &ir.Axis{Extent: d}
	x, w := ir.Load(m, i.Ix()), ir.Load(l, i.Ix())
	w = ir.Select(x.Eq(x.Const(math.Inf(-1))), x.Const(math.NaN()), w)
	y := ir.Load(o, i.Ix(), j.Ix()).Div(w)
	if a.Safe {
		y = ir.Select(w.IsNaN(), ir.Load(t.param("z", d), j.Ix()), y)
	}
	t.stage(apart(t.result(t.buffer("y", tensor.F32, n, d)), "ay"), []*ir.Axis{i, j}, ir.NoMonoid, nil, y)
	t.Program.Finish()
	return t.Tile
}

// Scored is s[n, c] = sum(f) q[n, f] * k[c, f].
func Scored() *Tile {
	t := newTile("scores")
	n, c, f := sym.Var("n"), sym.Var("c"), sym.Var("f")
	q, k := apart(t.param("q", n, f), "aq"), apart(t.param("k", c, f), "ak")
	i, j, l := &ir.Axis{Extent: n}, &ir.Axis{Extent: c}, &ir.Axis{Extent: f}
	s := apart(t.result(t.buffer("s", tensor.F32, n, c)), "as")
	t.stage(s, []*ir.Axis{i, j}, ir.Sum, l, ir.Load(q, i.Ix(), l.Ix()).Mul(ir.Load(k, j.Ix(), l.Ix())))
	t.Program.Finish()
	return t.Tile
}

// Extent is z[1] = sum(c) v[c] * 0, which is NaN where something of v is infinite or NaN, and otherwise the largest
// absolute value in v, t[1].
func Extent() *Tile {
	t := newTile("extent")
	v := t.param("v", sym.Var("c"))
	one := sym.Const(1)
	i, k := &ir.Axis{Extent: one}, &ir.Axis{Extent: sym.Var("c")}
	x := ir.Load(v, k.Ix())
	t.stage(t.result(t.buffer("z", tensor.F32, one)), []*ir.Axis{i}, ir.Sum, k, x.Mul(x.Const(0)))
	i, k = &ir.Axis{Extent: one}, &ir.Axis{Extent: sym.Var("c")}
	t.stage(t.result(t.buffer("t", tensor.F32, one)), []*ir.Axis{i}, ir.Max, k, ir.Unary(ir.OpAbs, ir.Load(v, k.Ix())))
	t.Program.Finish()
	return t.Tile
}

// Looks are kernels that say what a mask does to keys: v[c] = max(n) of what it does to them in a row.
type Looks struct {
	Hidden *Tile // what Upper is at most where X is masked, and something above Masked where it is not
	Strict *Tile // likewise, but leaves out where Upper is 0, and is above Masked where it is neither that nor masked
	Closed *Tile // 0 where Upper is, and 1 elsewhere
	Widest *Tile // g[q], the largest of so many v
}

// Looks is what tells where a mask hides keys, and where it leaves them as they are; v of by keys make a tile.
func (a *Attention) Looks(m *Masking, steps []Steps, by int64) (l Looks, err error) {
	careful := !m.Exact // of NaN, which is not masked
	m.Upper.Walk(func(y *ir.Scalar) bool {
		careful = careful || y.DType.IsFloat() && (y.Op == ir.OpLoad || y.Op == ir.OpLit && math.IsNaN(y.Lit.Float(0)))
		return !careful
	})
	masked := func(u *ir.Scalar) *ir.Scalar { return ir.Select(u.Le(u.Const(Masked)), u, u.Const(math.Inf(1))) }
	of := func(f func(u *ir.Scalar) *ir.Scalar) *Tile {
		t, why := a.look(m, steps, f)
		if why != "" && err == nil {
			err = fmt.Errorf("%s", why)
		}
		return t
	}
	l.Hidden = of(func(u *ir.Scalar) *ir.Scalar {
		if careful {
			return masked(u)
		}
		return u
	})
	l.Strict = of(func(u *ir.Scalar) *ir.Scalar {
		return ir.Select(u.Eq(u.Const(0)), u.Const(math.Inf(-1)), masked(u))
	})
	l.Closed = of(func(u *ir.Scalar) *ir.Scalar { return ir.Select(u.Eq(u.Const(0)), u.Const(0), u.Const(1)) })

	w, q := newTile("widest"), sym.Var("q")
	v := w.param("v", q, sym.Const(by))
	i, j := &ir.Axis{Extent: q}, &ir.Axis{Extent: sym.Const(by)}
	w.stage(w.result(w.buffer("g", tensor.F32, q)), []*ir.Axis{i}, ir.Max, j, ir.Load(v, i.Ix(), j.Ix()))
	w.Program.Finish()
	l.Widest = w.Tile
	return l, err
}

// look is v[c] = max(n) of what f makes of Upper.
func (a *Attention) look(m *Masking, steps []Steps, f func(*ir.Scalar) *ir.Scalar) (_ *Tile, why string) {
	leaves, why := a.Leaves()
	t := newTile("look")
	t.Leaves = make([]*ir.Buffer, len(leaves))
	i, j := &ir.Axis{Extent: sym.Var("n")}, &ir.Axis{Extent: sym.Var("c")}
	u := a.rewrite(m.Upper, func(f Leaf) *ir.Scalar {
		at := slices.IndexFunc(leaves, func(o Leaf) bool { return o.Position == f.Position && same(o.Node, f.Node) })
		if at < 0 {
			why = "something that X does not read"
			return f.Node
		}
		return t.leaf(at, leaves[at], steps[at], i, j)
	}, &why)
	if why != "" {
		return nil, why
	}
	t.stage(t.result(t.buffer("v", tensor.F32, j.Extent)), []*ir.Axis{j}, ir.Max, i, f(u))
	t.Program.Finish()
	return t.Tile, ""
}

// Kernel is the kernel of all of a tile's program, or why there is none.
func (t *Tile) Kernel(o Options) (*Kernel, error) {
	o.AnyNaN = true
	s := New(t.Program, o)
	if len(s.Groups) != 1 || s.Groups[0].Count != len(t.Stages) {
		for i := range t.Stages {
			if why := s.Refused[i]; why != "" {
				return nil, fmt.Errorf("%s", why)
			}
		}
		return nil, fmt.Errorf("the stages of %s are no one kernel", t.Name)
	}
	return s.Groups[0].Kernel, nil
}
