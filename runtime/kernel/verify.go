package kernel

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// access is where a load or store can be: Const, and the terms, within 0 .. Buf.Len-1.
type access struct {
	v    *Value
	form form
}

// form is a constant, and coefficients for positions in loops.
type form struct {
	c     sym.Expr
	terms []posTerm
}

// posTerm is a multiple of a position: in a loop, or of a value that is held within 0 up to below extent. Of
// another value nothing is known: open.
type posTerm struct {
	loop   *Loop
	of     *Value // nil: the loop's
	extent sym.Expr
	open   bool
	k      sym.Expr
}

func (t posTerm) same(u posTerm) bool { return t.loop == u.loop && t.of == u.of && t.open == u.open }

func (f form) plus(g form, k sym.Expr) form {
	out := form{c: f.c.Add(g.c.Mul(k)), terms: append([]posTerm(nil), f.terms...)}
next:
	for _, t := range g.terms {
		for i := range out.terms {
			if out.terms[i].same(t) {
				out.terms[i].k = out.terms[i].k.Add(t.k.Mul(k))
				continue next
			}
		}
		t.k = t.k.Mul(k)
		out.terms = append(out.terms, t)
	}
	return out
}

// verifier walks over a kernel.
type verifier struct {
	k        *Kernel
	known    map[*Value]bool
	forms    map[*Value]form
	accesses []access
	vectors  []*Loop // by vectors, around where we are: lanes go along one of them
}

// Verify checks the rules of kernels: values are defined before they are used and of the
// kinds that their operation takes, loops make sense, and addresses are sums of positions in
// loops, so that Bind can tell whether all are in bounds. With a context, what is known of
// the program's symbols, bounds are to be proved for all sizes.
func (k *Kernel) Verify(ctx *sym.Context) error {
	v := &verifier{k: k, known: map[*Value]bool{}, forms: map[*Value]form{}}
	err := v.block(k.Body)
	if err == nil {
		err = order(k)
	}
	if err != nil {
		return fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	if ctx == nil {
		return nil
	}
	for _, a := range v.accesses {
		most := a.form.c.Add(sym.Const(1))
		least := true
		if lo, _ := ctx.Bounds(a.form.c); lo < 0 {
			least = false
		}
		for _, t := range a.form.terms {
			lo, _ := ctx.Bounds(t.k)
			least = least && lo >= 0
			most = most.Add(t.k.Mul(t.extent.Sub(sym.Const(1))))
		}
		if !least || ctx.LE(most, a.v.Buf.Len) != sym.True {
			return fmt.Errorf("kernel %s: %s of %s is not proved to be in bounds: up to %s of %s", k.Name, a.v.Op, a.v.Buf.Of.Name, most, a.v.Buf.Len)
		}
	}
	return nil
}

// operands are the kinds that operations take, as sets of one or several; of those that are not here, two of the
// kind of the result.
func (v *verifier) operands(x *Value) [][]Kind {
	own := []Kind{x.Kind}
	of := func(kinds ...Kind) []Kind { return kinds }
	switch x.Op {
	case OpIndex, OpFetch:
		return [][]Kind{of(Addr), of(Int)}
	case OpLoad:
		ix := of(Int)
		if x.Access == Listed {
			ix = of(I32, I64)
		}
		out := [][]Kind{of(Addr), ix}
		if len(x.Args) == 3 {
			out = append(out, of(Mask))
		}
		return out
	case OpVector:
		return nil
	case OpClamp:
		return [][]Kind{of(Int), of(Int)}
	case OpLane, OpSplat:
		return [][]Kind{of(Int)}
	case OpMust:
		return [][]Kind{of(Mask)}
	case OpFma:
		return [][]Kind{own, own, own}
	case OpMma:
		return [][]Kind{of(FragA), of(FragB), of(FragC)}
	case OpNeg, OpAbs, OpSqrt, OpFloor, OpCeil, OpRound, OpTrunc, OpHalf, OpNot, OpShl, OpShr, OpSar, OpSwap, OpQuo:
		return [][]Kind{own}
	case OpSelect:
		if x.Kind == Int {
			return [][]Kind{own, own, own}
		}
		return [][]Kind{of(Mask), own, own}
	case OpBits:
		return [][]Kind{of(map[Kind]Kind{F32: I32, I32: F32, F64: I64, I64: F64}[x.Kind])}
	case OpFloat:
		return [][]Kind{of(I32, I64)}
	case OpWiden:
		return [][]Kind{of(map[Kind]Kind{F64: F32, I64: I32}[x.Kind])}
	case OpShort:
		return [][]Kind{of(map[Kind]Kind{F32: F64, I32: I64}[x.Kind])}
	case OpCut:
		return [][]Kind{of(F32, F64)}
	case OpNear:
		return [][]Kind{of(F32)}
	case OpRoot:
		return [][]Kind{of(I32)}
	case OpScale:
		return [][]Kind{of(F32), of(F32), of(Mask)}[:min(max(len(x.Args), 2), 3)]
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe, OpBelow:
		if len(x.Args) == 2 && x.Kind != Int {
			return [][]Kind{of(x.Args[0].Kind), of(x.Args[0].Kind)}
		}
	}
	return [][]Kind{own, own}
}

// gives are the kinds of results of operations that do not have all.
var gives = map[Op][]Kind{
	OpClamp: {Int}, OpVector: {Int}, OpMust: {None}, OpLane: {I32}, OpSplat: {I32, I64}, OpQuo: {Int, I32}, OpBelow: {Mask, Int}, OpFloat: {F32, F64},
	OpFetch: {None}, OpWiden: {F64, I64}, OpShort: {F32, I32}, OpCut: {I64}, OpNear: {I32}, OpHalf: {F32}, OpScale: {F32}, OpRoot: {F32}, OpFma: {F32}, OpMma: {FragC}, OpIndex: {Addr},
	OpEq: {Mask, Int}, OpNe: {Mask, Int}, OpLt: {Mask, Int}, OpLe: {Mask, Int}, OpGt: {Mask, Int}, OpGe: {Mask, Int},
}

func (v *verifier) use(x *Value) error {
	switch x.Op {
	case OpConst, OpBase:
		return nil
	case OpSize:
		if x.N < 0 || int(x.N) >= len(v.k.Sizes) || v.k.Sizes[x.N].Kind != x.Kind {
			return fmt.Errorf("size %d is none of that kind", x.N)
		}
		return nil
	case OpLo, OpHi:
		if x.N < 0 || int(x.N) >= len(v.k.Ranges) {
			return fmt.Errorf("there is no range %d", x.N)
		}
		return nil
	}
	if !v.known[x] {
		return fmt.Errorf("a value of %s is used before it is defined", x.Op)
	}
	return nil
}

func (v *verifier) block(b *Block) error {
	var own []*Value
	defer func() {
		for _, x := range own {
			delete(v.known, x)
		}
	}()
	define := func(x *Value) {
		v.known[x] = true
		own = append(own, x)
	}
	for _, x := range b.List {
		for _, a := range x.Args {
			if err := v.use(a); err != nil {
				return err
			}
		}
		switch x.Op {
		case OpLoop:
			if err := v.loop(x.Loop); err != nil {
				return err
			}
			define(x.Loop.End)
			for _, c := range x.Loop.Carries {
				define(c.End)
			}
			continue
		case opUse:
			continue
		case OpBarrier:
			if x.Kind != None || len(x.Args) > 0 || x.N != 0 && x.N != 1 {
				return fmt.Errorf("a barrier has operands")
			}
			continue
		case OpStore:
			if n := len(x.Args); n != 3 && (n != 4 || x.Args[3].Kind != Mask) || x.Args[0].Kind != Addr || (x.Args[1].Kind != Int) != (x.Access == Listed) || x.Access == Listed && x.Args[1].Kind != I32 && x.Args[1].Kind != I64 || kinds[x.Buf.DType] != x.Args[2].Kind && !x.ofFragment() || x.Kind != None || !x.Buf.Written {
				return fmt.Errorf("a store has the wrong operands")
			}
		default:
			want := v.operands(x)
			if len(x.Args) != len(want) {
				return fmt.Errorf("%s has %d operands", x.Op, len(x.Args))
			}
			for i, k := range want {
				if !slices.Contains(k, x.Args[i].Kind) {
					return fmt.Errorf("operand %d of %s is %s and not %s", i, x.Op, x.Args[i].Kind, k)
				}
			}
			if k, ok := gives[x.Op]; ok && !slices.Contains(k, x.Kind) {
				return fmt.Errorf("%s gives %s", x.Op, x.Kind)
			}
			if x.Op == OpLoad && x.Kind != kinds[x.Buf.DType] && !x.ofFragment() && !(x.Kind == Int && x.Access == One && (x.Buf.DType == tensor.I64 || x.Buf.DType == tensor.I32)) {
				return fmt.Errorf("a load of %s gives %s", x.Buf.DType, x.Kind)
			}
			if x.Op == OpMma && (x.Args[0].Op != OpLoad || x.Args[1].Op != OpLoad || x.Args[0].Buf.DType != x.Args[1].Buf.DType) {
				return fmt.Errorf("fragments of two types")
			}
			if x.Op == OpQuo {
				if err := v.use(&Value{Op: OpSize, Kind: Divisor, N: x.N}); err != nil {
					return err
				}
			}
		}
		if x.Op == OpLoad || x.Op == OpStore {
			if (x.Access == One || x.ofFragment()) && x.Args[len(x.Args)-1].Kind == Mask && (x.Op == OpLoad || len(x.Args) == 4) {
				return fmt.Errorf("a mask of one element, or of a fragment")
			}
			if err := v.access(x); err != nil {
				return err
			}
		}
		define(x)
	}
	return nil
}

func (v *verifier) loop(l *Loop) error {
	lanes := int64(v.k.Lanes)
	if l.Step != 1 && l.Step%lanes != 0 || l.Tail && l.Step != lanes {
		return fmt.Errorf("a loop of step %d", l.Step)
	}
	for _, e := range []*Value{l.Lo, l.Hi} {
		if err := v.use(e); err != nil || e.Kind != Int {
			return fmt.Errorf("the bounds of a loop: %v", err)
		}
	}
	if l.Step > 1 {
		if l.Tail && len(v.vectors) > 0 || len(v.vectors) > 0 && v.vectors[0].Tail {
			return fmt.Errorf("a loop by vectors in another one, with a turn that is shorter")
		}
		v.vectors = append(v.vectors, l)
		defer func() { v.vectors = v.vectors[:len(v.vectors)-1] }()
	}
	v.known[l.Var] = true
	defer delete(v.known, l.Var)
	for _, c := range l.Carries {
		v.known[c.In] = true
		defer delete(v.known, c.In)
	}
	out := make([]*Value, len(l.Carries))
	for i, c := range l.Carries {
		out[i] = c.Out
		if c.Out == nil || c.Init.Kind != c.In.Kind || c.Out.Kind != c.In.Kind || c.End.Kind != c.In.Kind {
			return fmt.Errorf("what a loop carries is of several kinds")
		}
	}
	l.Body.List = append(l.Body.List, &Value{Op: opUse, Args: out})
	err := v.block(l.Body)
	l.Body.List = l.Body.List[:len(l.Body.List)-1]
	return err
}

// access takes an address apart.
func (v *verifier) access(x *Value) error {
	f, err := v.form(x.Args[0])
	if err != nil {
		return err
	}
	ix, err := v.form(x.Args[1])
	if err != nil {
		return err
	}
	f = f.plus(ix, sym.Const(1))
	var along *Loop
	if x.ofFragment() {
		if f, err = v.fragment(x, f); err != nil {
			return err
		}
	} else if x.Access != One && x.Access != Listed {
		step := sym.Const(1)
		if x.Access == Strided {
			if x.N < 0 || int(x.N) >= len(v.k.Sizes) {
				return fmt.Errorf("size %d of a step is none", x.N)
			}
			step = v.k.Sizes[x.N].Expr
		}
		if len(v.vectors) == 0 && v.k.Group > 0 {
			f = f.plus(v.lanes(), step)
		}
		for _, t := range f.terms {
			if t.of == nil && slices.Contains(v.vectors, t.loop) && t.k.Equal(step) {
				along = t.loop
			}
		}
		if v.k.Group == 0 && along == nil {
			return fmt.Errorf("a vector's lanes do not go along a loop")
		}
	}
	if x.Access != Listed && len(x.Within) == 0 {
		for i, t := range f.terms { // a loop of whole vectors that no lanes go along
			if t.of == nil && t.loop != along && slices.Contains(v.vectors, t.loop) && !t.loop.Tail {
				f.terms[i].extent = t.extent.Sub(sym.Const(int64(v.k.Lanes) - 1))
			}
		}
	}
	for _, w := range x.Within {
		if f, err = v.within(x, f, w); err != nil {
			return err
		}
	}
	f.terms = slices.DeleteFunc(f.terms, func(t posTerm) bool { return t.k.IsInt(0) })
	for _, t := range f.terms {
		if t.open {
			return fmt.Errorf("an address by %s, which nothing bounds", t.of.Op)
		}
	}
	v.accesses = append(v.accesses, access{x, f})
	return nil
}

// lanes are positions from 0 up to below the number of lanes: those of a vector that goes along no loop.
func (v *verifier) lanes() form {
	return form{terms: []posTerm{{extent: sym.Const(int64(v.k.Lanes)), k: sym.Const(1)}}}
}

// within takes an index that a load's mask bounds out of its address, and puts a position in its place.
func (v *verifier) within(x *Value, f form, w Within) (form, error) {
	operands := 3
	if x.Op == OpStore {
		operands = 4
	}
	if len(x.Args) != operands || w.Below.Op != OpBelow || w.Below.Args[0] != w.Index || !implies(x.Args[operands-1], w.Below) {
		return f, fmt.Errorf("the mask of a load does not bound its index")
	}
	ix, err := v.form(w.Index)
	if err != nil {
		return f, err
	}
	dim, err := v.form(w.Below.Args[1])
	if err != nil || len(dim.terms) > 0 {
		return f, fmt.Errorf("a dim that is no size: %v", err)
	}
	f = f.plus(ix, w.Step.Neg())
	return f.plus(form{terms: []posTerm{{of: w.Below, extent: dim.c, k: sym.Const(1)}}}, w.Step), nil
}

// implies says whether a mask is one and others.
func implies(m, part *Value) bool {
	return m == part || m.Op == OpAnd && (implies(m.Args[0], part) || implies(m.Args[1], part))
}

// form takes an integer or address apart.
func (v *verifier) form(x *Value) (f form, err error) {
	if f, ok := v.forms[x]; ok {
		return f, nil
	}
	defer func() {
		if err == nil {
			v.forms[x] = f
		}
	}()
	switch x.Op {
	case OpConst:
		if x.Kind == I32 {
			return form{c: sym.Const(int64(int32(x.N)))}, nil
		}
		return form{c: sym.Const(x.N)}, nil
	case OpSize:
		return form{c: v.k.Sizes[x.N].Expr}, nil
	case OpBase:
		return form{}, nil
	case OpVar:
		extent := x.Loop.Extent
		if x.Loop.Step > 1 && !x.Loop.Tail { // there are whole steps alone
			extent = extent.Sub(sym.Const(x.Loop.Step - int64(v.k.Lanes)))
		}
		return form{terms: []posTerm{{loop: x.Loop, extent: extent, k: sym.Const(1)}}}, nil
	case OpClamp:
		dim, err := v.form(x.Args[1])
		if err != nil || len(dim.terms) > 0 {
			return f, fmt.Errorf("a dim that is no size: %v", err)
		}
		return form{terms: []posTerm{{of: x, extent: dim.c, k: sym.Const(1)}}}, nil
	case OpVector:
		return form{terms: []posTerm{{of: x, extent: sym.Const(int64(v.k.Group)), k: sym.Const(1)}}}, nil
	case OpLane, OpSplat, OpWiden:
		f, err := v.form(x.Args[0])
		if err == nil && x.Op == OpLane && v.k.Group > 0 {
			f = f.plus(v.lanes(), sym.Const(1))
		}
		return f, err
	case OpAdd, OpIndex, OpMul:
	default:
		return form{terms: []posTerm{{of: x, open: true, k: sym.Const(1)}}}, nil
	}
	a, err := v.form(x.Args[0])
	if err != nil {
		return f, err
	}
	b, err := v.form(x.Args[1])
	if err != nil {
		return f, err
	}
	switch {
	case x.Op != OpMul:
		return a.plus(b, sym.Const(1)), nil
	case len(b.terms) == 0:
		return form{}.plus(a, b.c), nil
	case len(a.terms) == 0:
		return form{}.plus(b, a.c), nil
	}
	return form{terms: []posTerm{{of: x, open: true, k: sym.Const(1)}}}, nil
}
