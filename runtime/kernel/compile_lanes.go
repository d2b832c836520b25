package kernel

import "math"

// lanes computes a vector: what kernels have most of by a loop of its own.
func (g *goCompiler) lanes(x *Value, d int, a [3]int) step {
	p, q, r := a[0], a[1], a[2]
	of := x.Args[0].Kind
	switch {
	case x.Op == OpSelect && !x.Kind.Wide():
		return func(f *Frame) {
			to, c, v, w := f.bits(d), f.bits(p), f.bits(q), f.bits(r)
			for i := range to {
				n := w[i]
				if c[i] != 0 {
					n = v[i]
				}
				to[i] = n
			}
		}
	case x.Op == OpSwap && !x.Kind.Wide():
		by := int(x.N) & (GoLanes - 1)
		return func(f *Frame) {
			to, v := f.bits(d), f.bits(p)
			for i := range to {
				to[i] = v[(i^by)&(GoLanes-1)]
			}
		}
	case of == F32:
		if s := floatStep(x.Op, d, p, q, r); s != nil {
			return s
		}
		if x.Op == OpScale {
			return scaleStep(d, p, q, r, len(x.Args) == 3)
		}
	case of == Mask && x.Op == OpAnd:
		return func(f *Frame) {
			to, v, w := f.bits(d), f.bits(p), f.bits(q)
			for i := range to {
				to[i] = v[i] & w[i]
			}
		}
	case of == Mask && x.Op == OpOr:
		return func(f *Frame) {
			to, v, w := f.bits(d), f.bits(p), f.bits(q)
			for i := range to {
				to[i] = v[i] | w[i]
			}
		}
	case of == Mask && x.Op == OpNot:
		return func(f *Frame) {
			to, v := f.bits(d), f.bits(p)
			for i := range to {
				to[i] = 1 - v[i]
			}
		}
	}
	return g.eachLane(x, d, a)
}

// folded is an operation of a vector and the same one with its lanes swapped, which is how lanes become one; nil: it is none of those.
func (g *goCompiler) folded(swap, x *Value) step {
	if swap.Op != OpSwap || swap.Kind != F32 || x.Op != OpAdd && x.Op != OpGreater || len(x.Args) != 2 || x.Args[0] != swap.Args[0] || x.Args[1] != swap {
		return nil
	}
	p, by := g.of(x.Args[0]), int(swap.N)&(GoLanes-1)
	d := g.take(x)
	if x.Op == OpAdd {
		return func(f *Frame) {
			to, v := f.floats(d), f.floats(p)
			for i := range to {
				to[i] = v[i] + v[(i^by)&(GoLanes-1)]
			}
		}
	}
	return func(f *Frame) {
		to, v := f.bits(d), f.bits(p)
		for i := range to {
			n := v[(i^by)&(GoLanes-1)]
			if math.Float32frombits(v[i]) > math.Float32frombits(n) {
				n = v[i]
			}
			to[i] = n
		}
	}
}

// eachLane computes any operation as the evaluator does.
func (g *goCompiler) eachLane(x *Value, d int, a [3]int) step {
	wide, n := x.Kind.Wide(), x.N
	set := func(f *Frame, i int, v uint64) {
		if wide {
			f.long(d)[i] = v
		} else {
			f.bits(d)[i] = uint32(v)
		}
	}
	switch x.Op {
	case OpLane, OpSplat:
		by := int64(0)
		if x.Op == OpLane {
			by = 1
		}
		return func(f *Frame) {
			for i := range GoLanes {
				set(f, i, uint64(f.ints[a[0]]+by*int64(i)))
			}
		}
	case OpMust:
		return func(f *Frame) {
			for _, t := range f.bits(a[0])[:f.active] {
				f.failed = f.failed || t == 0
			}
		}
	}
	widths := [3]bool{}
	for i, y := range x.Args {
		if single(y.Kind) {
			return g.fail(x)
		}
		widths[i] = y.Kind.Wide()
	}
	if _, ok := lane(x, [3]uint64{}); !ok && x.Op != OpSwap && x.Op != OpQuo {
		return g.fail(x)
	}
	count := len(x.Args)
	get := func(f *Frame, j, i int) uint64 {
		if widths[j] {
			return f.long(a[j])[i]
		}
		return uint64(f.bits(a[j])[i])
	}
	switch x.Op {
	case OpSwap:
		return func(f *Frame) {
			for i := range GoLanes {
				set(f, i, get(f, 0, i^int(n)))
			}
		}
	case OpQuo:
		return func(f *Frame) {
			for i := range GoLanes {
				set(f, i, quotientBy(f.numbers[n], get(f, 0, i)))
			}
		}
	}
	return func(f *Frame) {
		for i := range GoLanes {
			var v [3]uint64
			for j := range count {
				v[j] = get(f, j, i)
			}
			out, _ := lane(x, v)
			set(f, i, out)
		}
	}
}

// floatStep computes operations of f32; nil: it has none.
func floatStep(op Op, d, p, q, r int) step {
	compare := func(is func(to *bits32, v, w *floats32)) step {
		return func(f *Frame) { is(f.bits(d), f.floats(p), f.floats(q)) }
	}
	switch op {
	case OpAdd:
		return func(f *Frame) {
			to, v, w := f.floats(d), f.floats(p), f.floats(q)
			for i := range to {
				to[i] = v[i] + w[i]
			}
		}
	case OpSub:
		return func(f *Frame) {
			to, v, w := f.floats(d), f.floats(p), f.floats(q)
			for i := range to {
				to[i] = v[i] - w[i]
			}
		}
	case OpMul:
		return func(f *Frame) {
			to, v, w := f.floats(d), f.floats(p), f.floats(q)
			for i := range to {
				to[i] = v[i] * w[i]
			}
		}
	case OpDiv:
		return func(f *Frame) {
			to, v, w := f.floats(d), f.floats(p), f.floats(q)
			for i := range to {
				to[i] = v[i] / w[i]
			}
		}
	case OpFma:
		return func(f *Frame) {
			to, u, v, w := f.floats(d), f.floats(p), f.floats(q), f.floats(r)
			for i := range to {
				// Rounding twice is rounding once, unless the first ends half way between two f32.
				x, y, z := float64(u[i]), float64(v[i]), float64(w[i])
				s := x*y + z
				if math.Float64bits(s)&(1<<29-1) == 1<<28 || s < 0x1p-125 && s > -0x1p-125 && s != 0 {
					to[i] = fma32(u[i], v[i], w[i])
				} else {
					to[i] = float32(s)
				}
			}
		}
	case OpNeg:
		return func(f *Frame) {
			to, v := f.bits(d), f.bits(p)
			for i := range to {
				to[i] = v[i] ^ 1<<31
			}
		}
	case OpAbs:
		return func(f *Frame) {
			to, v := f.bits(d), f.bits(p)
			for i := range to {
				to[i] = v[i] &^ (1 << 31)
			}
		}
	case OpLesser:
		return func(f *Frame) { // by bits, so that nothing is a branch
			to, v, w := f.bits(d), f.bits(p), f.bits(q)
			for i := range to {
				n := w[i]
				if math.Float32frombits(v[i]) < math.Float32frombits(n) {
					n = v[i]
				}
				to[i] = n
			}
		}
	case OpGreater:
		return func(f *Frame) {
			to, v, w := f.bits(d), f.bits(p), f.bits(q)
			for i := range to {
				n := w[i]
				if math.Float32frombits(v[i]) > math.Float32frombits(n) {
					n = v[i]
				}
				to[i] = n
			}
		}
	case OpNear:
		return func(f *Frame) {
			to, v := f.whole(d), f.floats(p)
			for i := range to {
				n := math.RoundToEven(float64(v[i]))
				if to[i] = math.MinInt32; n >= math.MinInt32 && n <= math.MaxInt32 {
					to[i] = int32(n)
				}
			}
		}
	case OpEq:
		return compare(func(to *bits32, v, w *floats32) {
			for i := range to {
				to[i] = uint32(truth(v[i] == w[i]))
			}
		})
	case OpNe:
		return compare(func(to *bits32, v, w *floats32) {
			for i := range to {
				to[i] = uint32(truth(v[i] != w[i]))
			}
		})
	case OpLt:
		return compare(func(to *bits32, v, w *floats32) {
			for i := range to {
				to[i] = uint32(truth(v[i] < w[i]))
			}
		})
	case OpLe:
		return compare(func(to *bits32, v, w *floats32) {
			for i := range to {
				to[i] = uint32(truth(v[i] <= w[i]))
			}
		})
	case OpGt:
		return compare(func(to *bits32, v, w *floats32) {
			for i := range to {
				to[i] = uint32(truth(v[i] > w[i]))
			}
		})
	case OpGe:
		return compare(func(to *bits32, v, w *floats32) {
			for i := range to {
				to[i] = uint32(truth(v[i] >= w[i]))
			}
		})
	}
	return nil
}

// scaleStep is OpScale: a product with a power of two that is a normal number is rounded once.
func scaleStep(d, p, q, mask int, masked bool) step {
	return func(f *Frame) {
		to, v, by := f.floats(d), f.floats(p), f.floats(q)
		for i := range to {
			if masked && f.bits(mask)[i] == 0 {
				to[i] = 0
				continue
			}
			n := int(math.Floor(float64(by[i])))
			if n >= -126 && n <= 127 {
				to[i] = v[i] * math.Float32frombits(uint32(n+127)<<23)
			} else {
				to[i] = float32(math.Ldexp(float64(v[i]), n))
			}
		}
	}
}
