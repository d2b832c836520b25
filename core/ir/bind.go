package ir

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Env gives symbols their values in one run, and remembers who gave them.
type Env struct {
	outer *Env
	vals  map[string]binding
}

type binding struct {
	n   int64
	who string
}

// NewEnv is an empty environment inside another; outer may be nil.
func NewEnv(outer *Env) *Env { return &Env{outer: outer, vals: map[string]binding{}} }

// Len is the number of symbols bound in e itself, not in those around it.
func (e *Env) Len() int { return len(e.vals) }

// Lookup gives the value of a symbol.
func (e *Env) Lookup(name string) (int64, bool) {
	for ; e != nil; e = e.outer {
		if b, ok := e.vals[name]; ok {
			return b.n, true
		}
	}
	return 0, false
}

// Who tells what bound a symbol.
func (e *Env) Who(name string) string {
	for ; e != nil; e = e.outer {
		if b, ok := e.vals[name]; ok {
			return b.who
		}
	}
	return ""
}

// Set binds a symbol; who says by what, for messages.
func (e *Env) Set(name string, n int64, who string) { e.vals[name] = binding{n, who} }

// Eval gives the value of an expression.
func (e *Env) Eval(x sym.Expr) (int64, error) { return x.Eval(e.Lookup) }

// Shape evaluates dims.
func (e *Env) Shape(dims []sym.Expr) ([]int64, error) {
	out := make([]int64, len(dims))
	for i, d := range dims {
		n, err := e.Eval(d)
		if err != nil {
			return nil, err
		}
		out[i] = n
	}
	return out, nil
}

// Bind checks a value against a type: what the type fixes must be so, and symbols
// that have no value yet get theirs, where a dim is one symbol or linear in one. Dims
// whose symbols have no values yet are left alone; see BindAll.
// The error, a failed run, names the symbol, what bound it, and the offending size.
func (e *Env) Bind(t Type, v tensor.Value, who string) error {
	switch t := t.(type) {
	case TensorType:
		x, ok := v.(*tensor.Tensor)
		if !ok {
			return diag.New(diag.Run, "%s is no tensor, its type is %s", who, t)
		}
		if t.DType != tensor.Invalid && x.DType() != t.DType {
			return diag.New(diag.Run, "%s has element type %s, its type is %s", who, x.DType(), t)
		}
		if t.Unranked {
			return nil
		}
		if len(t.Dims) != x.Rank() {
			return diag.New(diag.Run, "%s has shape %v, of rank %d; its type is %s, of rank %d", who, x.Shape(), x.Rank(), t, len(t.Dims))
		}
		for pass := range 2 { // bare symbols first: they give the others their values
			for i, d := range t.Dims {
				_, bare := d.Symbol()
				if bare == (pass == 0) {
					if err := e.bindDim(d, x.Shape()[i], fmt.Sprintf("dim %d of %s", i, who), x.Shape()); err != nil {
						return err
					}
				}
			}
		}
	case SequenceType:
		x, ok := v.(*tensor.Sequence)
		if !ok {
			return diag.New(diag.Run, "%s is no sequence, its type is %s", who, t)
		}
		for i, elem := range x.Elems { // each element may have its own size
			if err := NewEnv(e).Bind(t.Elem, elem, fmt.Sprintf("element %d of %s", i, who)); err != nil {
				return err
			}
		}
	case OpaqueType: // what it is only its maker knows
	case OptionalType:
		x, ok := v.(*tensor.Optional)
		if !ok { // it is what such an optional holds
			return NewEnv(e).Bind(t.Elem, v, who)
		}
		if x.Elem != nil {
			return NewEnv(e).Bind(t.Elem, x.Elem, who)
		}
	}
	return nil
}

// BindAll is Bind of values that come in together: a symbol that one of them tells counts
// for all of them, in whatever order they are. A type that is nil asks for nothing.
func (e *Env) BindAll(types []Type, vals []tensor.Value, who func(i int) string) error {
	for n := -1; n != len(e.vals); { // what was told may tell more
		n = len(e.vals)
		for i, t := range types {
			if t == nil {
				continue
			}
			if err := e.Bind(t, vals[i], who(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Env) bindDim(d sym.Expr, n int64, who string, shape []int64) error {
	want, evalErr := e.Eval(d)
	if evalErr == nil {
		if want != n {
			return e.mismatch(d, want, n, who, shape)
		}
		return nil
	}
	var open []string
	for _, s := range d.Symbols() {
		if _, ok := e.Lookup(s); !ok {
			open = append(open, s)
		}
	}
	switch len(open) {
	case 0:
		return diag.New(diag.Run, "%s is %d (shape %v), but %s has no value: %v", who, n, shape, d, evalErr)
	case 1:
	default:
		return nil // checked where the symbols get their values
	}
	return e.solve(open[0], d, n, who, shape)
}

// solve finds s from d = n where d is linear in s, and otherwise leaves it open.
func (e *Env) solve(s string, d sym.Expr, n int64, who string, shape []int64) error {
	at := func(v int64) (int64, bool) {
		r, err := d.Eval(func(name string) (int64, bool) {
			if name == s {
				return v, true
			}
			return e.Lookup(name)
		})
		return r, err == nil
	}
	f0, ok0 := at(0)
	f1, ok1 := at(1)
	if !ok0 || !ok1 || f1 == f0 {
		return nil
	}
	k := f1 - f0
	v := (n - f0) / k
	got, ok := at(v)
	if f2, ok2 := at(2); !ok2 || f2-f1 != k {
		return nil // not linear
	}
	if !ok || got != n || v < 0 {
		return diag.New(diag.Run, "%s is %d (shape %v), which %s is for no %s", who, n, shape, d, s)
	}
	e.Set(s, v, who)
	return nil
}

func (e *Env) mismatch(d sym.Expr, want, n int64, who string, shape []int64) error {
	if s, ok := d.Symbol(); ok {
		return diag.New(diag.Run, "%s is %d (shape %v), but %q is %d, bound by %s", who, n, shape, s, want, e.Who(s))
	}
	if _, ok := d.Int(); ok {
		return diag.New(diag.Run, "%s is %d (shape %v), the model fixes it at %d", who, n, shape, want)
	}
	by := ""
	for _, s := range d.Symbols() {
		v, _ := e.Lookup(s)
		by += fmt.Sprintf(", %s = %d bound by %s", s, v, e.Who(s))
	}
	return diag.New(diag.Run, "%s is %d (shape %v), but %s is %d%s", who, n, shape, d, want, by)
}

// Check verifies that the symbols bound in e keep to what ctx says of them.
func (e *Env) Check(ctx *sym.Context) error {
	for _, s := range ctx.Symbols() {
		n, ok := e.Lookup(s)
		if !ok {
			continue
		}
		lo, hi := ctx.Range(s)
		if n < lo || n > hi {
			return diag.New(diag.Run, "%q is %d, bound by %s, but it must be in [%d, %s]", s, n, e.Who(s), lo, upper(hi))
		}
		if k := ctx.Multiple(s); k > 1 && n%k != 0 {
			return diag.New(diag.Run, "%q is %d, bound by %s, but it must be a multiple of %d", s, n, e.Who(s), k)
		}
	}
	for _, eq := range ctx.Equalities() {
		a, aerr := e.Eval(eq[0])
		b, berr := e.Eval(eq[1])
		if aerr == nil && berr == nil && a != b {
			if _, fixed := eq[1].Int(); fixed {
				return diag.New(diag.Run, "%s is %d, but it must be %d: %s", eq[0], a, b, e.tellers(eq[0], eq[1]))
			}
			return diag.New(diag.Run, "%s is %d and %s is %d, but they must be equal: %s", eq[0], a, eq[1], b, e.tellers(eq[0], eq[1]))
		}
	}
	for _, le := range ctx.LEs() {
		a, aerr := e.Eval(le[0])
		b, berr := e.Eval(le[1])
		if aerr == nil && berr == nil && a > b {
			if _, fixed := le[1].Int(); fixed {
				err := diag.New(diag.Run, "%s is %d, but it must be at most %d: %s", le[0], a, b, e.tellers(le[0], le[1]))
				if b == math.MaxInt32 || b == math.MaxUint32 {
					err = err.Hint("the model computes with it in 32 bits")
				}
				return err
			}
			return diag.New(diag.Run, "%s is %d and %s is %d, but the first must be at most the second: %s", le[0], a, le[1], b, e.tellers(le[0], le[1]))
		}
	}
	return nil
}

// tellers tells the values of the symbols of two expressions, and who gave them.
func (e *Env) tellers(a, b sym.Expr) string {
	var by []string
	names := slices.Sorted(slices.Values(append(a.Symbols(), b.Symbols()...)))
	for _, name := range slices.Compact(names) {
		n, _ := e.Lookup(name)
		by = append(by, fmt.Sprintf("%s is %d, bound by %s", sym.Var(name), n, e.Who(name)))
	}
	return strings.Join(by, "; ")
}

func upper(hi int64) string {
	if hi == 1<<63-1 {
		return "any"
	}
	return fmt.Sprint(hi)
}
