package kernel

import (
	"fmt"

	"github.com/pitopt/pitopt/core/sym"
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

type posTerm struct {
	loop *Loop
	k    sym.Expr
}

func (f form) plus(g form, k sym.Expr) form {
	out := form{c: f.c.Add(g.c.Mul(k)), terms: append([]posTerm(nil), f.terms...)}
next:
	for _, t := range g.terms {
		for i := range out.terms {
			if out.terms[i].loop == t.loop {
				out.terms[i].k = out.terms[i].k.Add(t.k.Mul(k))
				continue next
			}
		}
		out.terms = append(out.terms, posTerm{t.loop, t.k.Mul(k)})
	}
	return out
}

// verifier walks over a kernel.
type verifier struct {
	k        *Kernel
	known    map[*Value]bool
	forms    map[*Value]form
	accesses []access
	vector   *Loop // whose positions are lanes
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
			most = most.Add(t.k.Mul(t.loop.Extent.Sub(sym.Const(1))))
		}
		if !least || ctx.LE(most, a.v.Buf.Len) != sym.True {
			return fmt.Errorf("kernel %s: %s of %s is not proved to be in bounds: up to %s of %s", k.Name, a.v.Op, a.v.Buf.Of.Name, most, a.v.Buf.Len)
		}
	}
	return nil
}

// operands are the kinds that operations take; of those that are not here, two of the
// kind of the result.
func (v *verifier) operands(x *Value) []Kind {
	switch x.Op {
	case OpIndex, OpLoad:
		return []Kind{Addr, Int}
	case OpFma:
		return []Kind{F32, F32, F32}
	case OpNeg, OpAbs, OpSqrt, OpFloor, OpCeil, OpRound, OpTrunc, OpHalf, OpNot, OpShl, OpShr, OpSar, OpSwap:
		return []Kind{x.Kind}
	case OpSelect:
		return []Kind{Mask, x.Kind, x.Kind}
	case OpBits:
		if x.Kind == F32 {
			return []Kind{I32}
		}
		return []Kind{F32}
	case OpFloat:
		return []Kind{I32}
	case OpNear:
		return []Kind{F32}
	case OpScale:
		return []Kind{F32, I32}
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe:
		if len(x.Args) == 2 {
			return []Kind{x.Args[0].Kind, x.Args[0].Kind}
		}
	}
	return []Kind{x.Kind, x.Kind}
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
			if x.Kind != None || len(x.Args) > 0 {
				return fmt.Errorf("a barrier has operands")
			}
			continue
		case OpStore:
			if len(x.Args) != 3 || x.Args[0].Kind != Addr || x.Args[1].Kind != Int || kinds[x.Buf.DType] != x.Args[2].Kind || x.Kind != None || !x.Buf.Written {
				return fmt.Errorf("a store has the wrong operands")
			}
		default:
			want := v.operands(x)
			if len(x.Args) != len(want) {
				return fmt.Errorf("%s has %d operands", x.Op, len(x.Args))
			}
			for i, k := range want {
				if x.Args[i].Kind != k {
					return fmt.Errorf("operand %d of %s is %s and not %s", i, x.Op, x.Args[i].Kind, k)
				}
			}
		}
		if x.Op == OpLoad || x.Op == OpStore {
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
		if v.vector != nil {
			return fmt.Errorf("a loop by vectors in another one")
		}
		v.vector = l
		defer func() { v.vector = nil }()
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
	if x.Access != One {
		step := sym.Const(1)
		if x.Access == Strided {
			if x.N < 0 || int(x.N) >= len(v.k.Sizes) {
				return fmt.Errorf("size %d of a step is none", x.N)
			}
			step = v.k.Sizes[x.N].Expr
		}
		k := sym.Expr{}
		for _, t := range f.terms {
			if t.loop == v.vector {
				k = t.k
			}
		}
		if v.vector == nil || !k.Equal(step) {
			return fmt.Errorf("a vector's lanes do not go along a loop")
		}
	}
	v.accesses = append(v.accesses, access{x, f})
	return nil
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
		return form{c: sym.Const(x.N)}, nil
	case OpSize:
		return form{c: v.k.Sizes[x.N].Expr}, nil
	case OpBase:
		return form{}, nil
	case OpVar:
		return form{terms: []posTerm{{x.Loop, sym.Const(1)}}}, nil
	case OpAdd, OpIndex:
		// Positions inside of a step are positions in the loop, too.
		if a, c := x.Args[0], x.Args[1]; a.Op == OpVar && c.Op == OpConst && a.Loop.Step > 1 {
			if c.N < 0 || c.N+int64(v.k.Lanes) > a.Loop.Step || a.Loop.Tail {
				return f, fmt.Errorf("position %d in a step of %d", c.N, a.Loop.Step)
			}
			return v.form(a)
		}
	case OpMul:
	default:
		return f, fmt.Errorf("an address by %s", x.Op)
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
	return f, fmt.Errorf("an address that is not linear in positions")
}
