package sym

import (
	"fmt"
	"math"
)

// Eval computes e. Overflow, division by zero and a symbol that lookup does not know
// are errors.
func (e Expr) Eval(lookup func(name string) (int64, bool)) (int64, error) {
	if n, ok := e.Int(); ok {
		return n, nil
	}
	if s, ok := e.Symbol(); ok {
		n, ok := lookup(s)
		if !ok {
			return 0, fmt.Errorf("symbol %q has no value", s)
		}
		return n, nil
	}
	var slots []int64
	missing := ""
	code := e.Compile(func(name string) int {
		v, ok := lookup(name)
		if !ok && missing == "" {
			missing = name
		}
		slots = append(slots, v)
		return len(slots) - 1
	})
	if missing != "" {
		return 0, fmt.Errorf("symbol %q has no value", missing)
	}
	return code.Eval(slots)
}

// Code is an expression whose symbols are resolved to slots, for evaluation without
// look-ups and without allocation. It may be used concurrently.
type Code struct {
	sum codeSum
	err error
}

type codeSum []codeTerm

type codeTerm struct {
	coef    int64
	factors []codeFactor
}

type codeFactor struct {
	kind atomKind
	slot int
	args []codeSum
}

// Compile resolves symbols to slots; slot is asked at every occurrence.
func (e Expr) Compile(slot func(name string) int) *Code {
	return &Code{compile(e, slot), e.Err()}
}

func compile(e Expr, slot func(string) int) codeSum {
	sum := make(codeSum, len(e.terms()))
	for i, t := range e.terms() {
		sum[i] = codeTerm{t.coef, make([]codeFactor, len(t.mono))}
		for j, a := range t.mono {
			f := &sum[i].factors[j]
			f.kind = a.kind
			if a.kind == symbolAtom {
				f.slot = slot(a.name)
			}
			for _, x := range a.args {
				f.args = append(f.args, compile(x, slot))
			}
		}
	}
	return sum
}

// Eval computes the expression over slots. Overflow and division by zero are errors.
func (c *Code) Eval(slots []int64) (int64, error) {
	if c.err != nil {
		return 0, c.err
	}
	return c.sum.eval(slots)
}

func (s codeSum) eval(slots []int64) (int64, error) {
	var sum wide
	for i := range s {
		v, err := s[i].eval(slots)
		if err != nil {
			return 0, err
		}
		sum.add(v)
	}
	v, ok := sum.int64()
	if !ok {
		return 0, errOverflow
	}
	return v, nil
}

func (t *codeTerm) eval(slots []int64) (int64, error) {
	v, fits, zero := t.coef, true, false
	for i := range t.factors {
		x, err := t.factors[i].eval(slots)
		if err != nil {
			return 0, err
		}
		ok := false
		v, ok = mulInt64(v, x)
		fits, zero = fits && ok, zero || x == 0
	}
	switch { // what is times 0 does not overflow, in whatever order the factors stand
	case zero:
		return 0, nil
	case !fits:
		return 0, errOverflow
	}
	return v, nil
}

func (f *codeFactor) eval(slots []int64) (int64, error) {
	if f.kind == symbolAtom {
		return slots[f.slot], nil
	}
	v, err := f.args[0].eval(slots)
	if err != nil {
		return 0, err
	}
	for _, arg := range f.args[1:] {
		w, err := arg.eval(slots)
		if err != nil {
			return 0, err
		}
		switch {
		case f.kind == minAtom:
			v = min(v, w)
		case f.kind == maxAtom:
			v = max(v, w)
		case w == 0:
			return 0, errDivZero
		case f.kind == modAtom:
			v = floorMod(v, w)
		case v == math.MinInt64 && w == -1:
			return 0, errOverflow
		default:
			v = floorDiv(v, w)
		}
	}
	return v, nil
}
