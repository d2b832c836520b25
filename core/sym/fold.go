package sym

// Algebra computes integers in some other form: as operators of a graph, as code.
type Algebra[T any] struct {
	Const                             func(int64) T
	Symbol                            func(name string) T
	Add, Mul, FloorDiv, Mod, Min, Max func(a, b T) T
}

// Fold computes e by an algebra. An expression without value is Err's business.
func Fold[T any](e Expr, by Algebra[T]) T {
	var sum T
	for i, t := range e.terms() {
		v, first := by.Const(t.coef), true
		for _, a := range t.mono {
			x := foldAtom(a, by)
			if first && t.coef == 1 {
				v = x
			} else {
				v = by.Mul(v, x)
			}
			first = false
		}
		if i == 0 {
			sum = v
		} else {
			sum = by.Add(sum, v)
		}
	}
	if len(e.terms()) == 0 {
		return by.Const(0)
	}
	return sum
}

func foldAtom[T any](a *atom, by Algebra[T]) T {
	if a.kind == symbolAtom {
		return by.Symbol(a.name)
	}
	v := Fold(a.args[0], by)
	op := map[atomKind]func(a, b T) T{floorDivAtom: by.FloorDiv, modAtom: by.Mod, minAtom: by.Min, maxAtom: by.Max}[a.kind]
	for _, arg := range a.args[1:] {
		v = op(v, Fold(arg, by))
	}
	return v
}
