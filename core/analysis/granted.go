package analysis

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// What a proof takes for granted of norms: that products of computed vectors, and numbers that become f16, are no larger than the
// mask can hide. A run looks whether that is so.

// Product is a sum of products of two vectors, whose norms are what A and B say: it is taken for granted that the product of these
// is at most Most. Or it is a number that becomes f16, which is at most Most, and B is 1.
type Product struct {
	A, B Norm
	Most float64
	Half bool
}

// Products are the sums of products that something was taken for granted of.
func (r *Ragged) Products() []Product { return r.products }

// Powers of two that are tried as a bound of products.
const leastPower, mostPower = 4, 40

// dot bounds a sum of products of two vectors that both are computed, by their norms.
func (a *RaggedProgram) dot(s *ir.Stage) (by Interval, ok bool) {
	p, found := a.dots[s]
	if !found {
		p = a.productOf(s)
		a.dots[s] = p
	}
	if p == nil {
		return Interval{}, false
	}
	most := a.limit
	x, known := p.A.value()
	y, known2 := p.B.value()
	if known && known2 {
		most = x * y
	}
	return Interval{-most, most, true}, !math.IsInf(most, 1) && most == most
}

func (a *RaggedProgram) productOf(s *ir.Stage) *Product {
	x := uncast(s.Exprs[0])
	over, ok := wholly(s.Red)
	if s.Monoid != ir.Sum || len(s.Red) == 0 || !ok || x.Op != ir.OpMul || a.isConst(x.Args[0]) || a.isConst(x.Args[1]) {
		return nil
	}
	n, ok1 := a.norm(s, x.Args[0], over, 0)
	m, ok2 := a.norm(s, x.Args[1], over, 0)
	room, ok3 := roomFor(s.Out().DType, over.count())
	if !ok1 || !ok2 || !ok3 {
		return nil
	}
	return &Product{A: n.times(room), B: m}
}

// mostHalf is what numbers that become f16 are taken to be at most, where norms say how large they may be: less than there is, so
// that a mean of them is not more.
const mostHalf = 1 << 15

// fitsHalf says whether a number that becomes f16 is no larger than mostHalf: as its norm is, or is taken for.
func (a *RaggedProgram) fitsHalf(x *ir.Scalar) bool {
	if x.DType != tensor.F16 || !x.Args[0].DType.IsFloat() {
		return false
	}
	fits, found := a.halves[x]
	if found {
		return fits
	}
	a.halves[x] = false
	if most, _ := largestOf(x.DType); a.eval(nil, x.Args[0]).largest() < most {
		return false // which is known without
	}
	n, ok := a.norm(nil, x.Args[0], spans{}, 0)
	if v, known := n.value(); ok && known {
		fits = v <= mostHalf
	} else if ok {
		fits = true
		a.products = append(a.products, Product{n, Norm{{By: 1}}, mostHalf, true})
	}
	a.halves[x] = fits
	return fits
}

// bound chooses how large products of computed vectors may be at most, so that the mask hides what it is to hide: as large as
// they may. It is taken for granted that they are no larger. Where it makes no difference, nothing is.
func (a *RaggedProgram) bound(p *ir.Program) {
	open := a.shown(p)
	if open == 0 || !slices.ContainsFunc(p.Stages, func(s *ir.Stage) bool { return a.dots[s] != nil }) {
		return
	}
	first := a.first
	try := func(quarters int) int {
		a.limit, a.first = math.Exp2(float64(quarters)/4), first
		for _, s := range p.Stages {
			a.stage(s)
		}
		return a.shown(p)
	}
	lo, hi := 4*leastPower, 4*mostPower
	least := try(lo)
	if least == open {
		a.limit, a.first = math.Inf(1), first
		for _, s := range p.Stages {
			a.stage(s)
		}
		return
	}
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; try(mid) == least {
			lo = mid
		} else {
			hi = mid
		}
	}
	try(lo)
	for _, s := range p.Stages {
		d := a.dots[s]
		if d == nil {
			continue
		}
		_, known := d.A.value()
		_, known2 := d.B.value()
		if !known || !known2 {
			a.products = append(a.products, Product{A: d.A, B: d.B, Most: a.limit})
		}
	}
}

// shown counts the reductions over tokens of a sequence of which the mask does not hide those that it does not have.
func (a *RaggedProgram) shown(p *ir.Program) (n int) {
	for _, s := range p.Stages {
		if a.Shows(s) {
			n++
		}
	}
	return n
}

// Shows says whether a stage goes over the tokens of a sequence, and those that the mask does not have may change what it gives of
// one that it has.
func (a *RaggedProgram) Shows(s *ir.Stage) bool {
	key, ok := a.Key(s)
	if !ok {
		return false
	}
	var rows []Token
	for _, slot := range a.Slots(s.Out().Dims) {
		rows = append(rows, TokenAt(s, slot))
	}
	return !a.Neutral(s, key, rows...)
}
