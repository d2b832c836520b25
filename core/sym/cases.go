package sym

import "slices"

// trial evaluates the goal of a proof at values of its symbols.
type trial struct {
	names  []string
	within []interval
	goal   *Code
	given  []*Code // at least 0, or the values do not count
	slots  []int64
}

// newTrial takes all facts in, or those alone that have no symbol beside those of the
// goal.
func (p *proof) newTrial(allFacts bool) *trial {
	t := &trial{names: p.goal.Symbols()}
	own := t.names
	var facts []Expr
	for _, g := range p.facts {
		names := g.Symbols()
		foreign := slices.ContainsFunc(names, func(s string) bool { _, ok := slices.BinarySearch(own, s); return !ok })
		if allFacts || !foreign {
			facts = append(facts, g)
			t.names = append(t.names, names...)
		}
	}
	t.names = slices.Clone(t.names)
	slices.Sort(t.names)
	t.names = slices.Compact(t.names)
	slot := func(s string) int { i, _ := slices.BinarySearch(t.names, s); return i }
	t.goal = p.goal.Compile(slot)
	for _, g := range facts {
		t.given = append(t.given, g.Compile(slot))
	}
	for _, s := range t.names {
		t.within = append(t.within, p.symbolRange(s))
	}
	t.slots = make([]int64, len(t.names))
	return t
}

// value is that of the goal where the slots satisfy what is given.
func (t *trial) value() (int64, bool) {
	for _, g := range t.given {
		if v, err := g.Eval(t.slots); err != nil || v < 0 {
			return 0, false
		}
	}
	v, err := t.goal.Eval(t.slots)
	return v, err == nil
}

// refuted says whether the goal is negative for some values that the constraints allow.
// A few small ones are tried, which spares most searches that would find nothing.
func (p *proof) refuted() bool {
	t := p.newTrial(true)
	const tries = 8
	for try := range int64(tries) {
		for i, r := range t.within {
			var v int64
			switch i := int64(i); try {
			case 0, 1: // all the same
				v = try
			case 2: // ascending
				v = i + 1
			case 3: // descending
				v = int64(len(t.within)) - i
			default: // mixed
				v = (7*i + 5*try) % 11
			}
			t.slots[i] = max(min(v, r.hi), r.lo)
		}
		if v, ok := t.value(); ok && v < 0 {
			return true
		}
	}
	return false
}

// values is what a goal can be.
type values struct {
	interval
	zero bool
}

// enumerate tries all values of the symbols where they are few. It is not ok where the
// constraints allow no value.
func (p *proof) enumerate() (v values, ok bool) {
	v.interval = interval{Inf, -Inf}
	count := int64(1)
	for _, s := range p.goal.Symbols() {
		r := p.symbolRange(s)
		if isInf(r.lo) || isInf(r.hi) || r.hi-r.lo >= maxCases {
			return v, false
		}
		if count *= r.hi - r.lo + 1; count > maxCases {
			return v, false
		}
	}
	t := p.newTrial(false)
	for i := range count {
		for j, r := range t.within {
			n := r.hi - r.lo + 1
			t.slots[j] = r.lo + i%n
			i /= n
		}
		if x, valid := t.value(); valid {
			v.interval = v.hull(point(x))
			v.zero = v.zero || x == 0
			ok = true
		}
	}
	return v, ok
}

// byResidues proves the goal for every remainder of the symbols that are divided by
// constants: with n = d*x + r, n // d is x and n mod d is r.
func (p *proof) byResidues() bool {
	const maxModulus, maxResidues = 24, 64
	modulus := int64(1)
	var names []string
	p.goal.eachAtom(func(a *atom) bool {
		if a.kind == floorDivAtom || a.kind == modAtom {
			if d, ok := a.args[1].Int(); ok && d > 0 && d <= maxModulus && modulus <= maxModulus {
				modulus = modulus / int64(gcd(uint64(modulus), uint64(d))) * d
				names = append(names, a.args[0].Symbols()...)
			}
		}
		return true
	})
	slices.Sort(names)
	names = slices.Compact(names)
	count := int64(1)
	for range names {
		if count *= modulus; count > maxResidues {
			return false
		}
	}
	if modulus == 1 {
		return false
	}
	for i := range count {
		if q := p.withResidues(names, modulus, i); q != nil && q.lower(0) < 0 {
			return false
		}
	}
	return true
}

// withResidues is the proof for the i-th choice of remainders, nil if no value of a
// symbol has its remainder.
func (p *proof) withResidues(names []string, modulus, i int64) *proof {
	residue := map[string]int64{}
	q := &proof{within: map[string]interval{}, effort: p.effort}
	for s, r := range p.within {
		q.within[s] = r
	}
	for _, s := range names {
		residue[s] = i % modulus
		i /= modulus
		r := p.symbolRange(s)
		if r.lo == 0 {
			if r.hi < residue[s] {
				return nil
			}
			if !isInf(r.hi) {
				r.hi = (r.hi - residue[s]) / modulus
			}
		} else {
			r = everything
		}
		q.within[s] = r
	}
	put := func(e Expr) Expr {
		return e.Subst(func(s string) (Expr, bool) {
			r, ok := residue[s]
			return Var(s).scale(modulus).Add(Const(r)), ok
		})
	}
	q.goal, q.facts = put(p.goal), slices.DeleteFunc(mapExprs(p.facts, put), func(e Expr) bool { return e.Err() != nil })
	return q
}
