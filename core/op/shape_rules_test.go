package op_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// shapeRule is what an operator does to sizes, said once more by counting. draw makes a
// call: types of operands over the symbols n, m and k, constants as "= 1 2", and attributes.
// count gives the shape of result 0 for exact shapes, nil where the call is not legal;
// of a size that the data tell it gives -1.
type shapeRule struct {
	op    string
	draw  func(r *rand.Rand) ([]string, ir.Attrs)
	count func(in [][]int64, c constants64, a ir.Attrs) []int64
}

// constants64 are the constant operands of a call by their positions.
type constants64 map[int][]int64

// dim is a dim that is a number or an expression over the symbols.
func dim(r *rand.Rand) string {
	return []string{"n", "m", "k", "2", "n + 1", "2*m", "1", "n + m"}[r.IntN(8)]
}

func oneOf(r *rand.Rand, list ...int64) int64 { return list[r.IntN(len(list))] }

func between(x, lo, hi int64) int64 { return max(lo, min(x, hi)) }

var shapeRules = []shapeRule{
	{"Slice", func(r *rand.Rand) ([]string, ir.Attrs) {
		step := oneOf(r, 1, 2, 3, -1, -2)
		return []string{"[" + dim(r) + ", 2] f32", "=" + fmt.Sprint(oneOf(r, -4, -1, 0, 1, 3, 1<<62)), "=" + fmt.Sprint(oneOf(r, -4, -1, 0, 2, 5, 1<<62, -1<<62)), "= 0", "=" + fmt.Sprint(step)}, nil
	}, func(in [][]int64, c constants64, _ ir.Attrs) []int64 {
		d, at, end, step := in[0][0], c[1][0], c[2][0], c[4][0]
		if at < 0 {
			at += d
		}
		if end < 0 {
			end += d
		}
		n := int64(0)
		if d == 0 {
			return []int64{0, 2}
		}
		if step > 0 {
			for i := between(at, 0, d); i < between(end, 0, d); i += step {
				n++
			}
		} else {
			for i := between(at, 0, d-1); i > between(end, -1, d-1); i += step {
				n++
			}
		}
		return []int64{n, 2}
	}},
	{"Pad", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[" + dim(r) + "] f32", fmt.Sprintf("= %d %d", oneOf(r, -2, 0, 1, 3), oneOf(r, -1, 0, 2))}, nil
	}, func(in [][]int64, c constants64, _ ir.Attrs) []int64 {
		n := in[0][0] + c[1][0] + c[1][1]
		if n < 0 {
			return nil
		}
		return []int64{n}
	}},
	{"MaxPool", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[1, 1, " + dim(r) + "] f32"}, attrs("kernel_shape", []int64{oneOf(r, 1, 2, 3)}, "strides", []int64{oneOf(r, 1, 2, 3)},
			"dilations", []int64{oneOf(r, 1, 2)}, "pads", []int64{oneOf(r, 0, 1), oneOf(r, 0, 1)}, "ceil_mode", oneOf(r, 0, 1))
	}, func(in [][]int64, _ constants64, a ir.Attrs) []int64 {
		pads := a.Get("pads").([]int64)
		return windows(in[0][2], a.Get("kernel_shape").([]int64)[0], a.Get("strides").([]int64)[0], a.Get("dilations").([]int64)[0], pads[0], pads[1], a.Get("ceil_mode").(int64) != 0)
	}},
	{"Conv", func(r *rand.Rand) ([]string, ir.Attrs) {
		k := oneOf(r, 1, 2, 3)
		return []string{"[1, 1, " + dim(r) + "] f32", fmt.Sprintf("[1, 1, %d] f32", k)}, attrs("strides", []int64{oneOf(r, 1, 2, 3)},
			"dilations", []int64{oneOf(r, 1, 2)}, "pads", []int64{oneOf(r, 0, 1), oneOf(r, 0, 2)})
	}, func(in [][]int64, _ constants64, a ir.Attrs) []int64 {
		pads := a.Get("pads").([]int64)
		return windows(in[0][2], in[1][2], a.Get("strides").([]int64)[0], a.Get("dilations").([]int64)[0], pads[0], pads[1], false)
	}},
	{"Concat", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[" + dim(r) + ", k] f32", "[" + dim(r) + ", " + dim(r) + "] f32"}, attrs("axis", 0)
	}, func(in [][]int64, _ constants64, _ ir.Attrs) []int64 {
		if in[0][1] != in[1][1] {
			return nil
		}
		return []int64{in[0][0] + in[1][0], in[0][1]}
	}},
	{"Split", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[" + dim(r) + "] f32"}, attrs("num_outputs", 1)
	},
		func(in [][]int64, _ constants64, _ ir.Attrs) []int64 { return in[0] }},
	{"Tile", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[" + dim(r) + ", " + dim(r) + "] f32", fmt.Sprintf("= %d %d", r.IntN(4), r.IntN(3))}, nil
	}, func(in [][]int64, c constants64, _ ir.Attrs) []int64 {
		return []int64{in[0][0] * c[1][0], in[0][1] * c[1][1]}
	}},
	{"Expand", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[" + dim(r) + "] f32", fmt.Sprintf("= %d %d", r.IntN(3), oneOf(r, 1, 2, 4))}, nil
	}, func(in [][]int64, c constants64, _ ir.Attrs) []int64 { return numpyBroadcast(in[0], c[1]) }},
	{"Add", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[" + dim(r) + ", " + dim(r) + "] f32", "[" + dim(r) + "] f32"}, nil
	}, func(in [][]int64, _ constants64, _ ir.Attrs) []int64 { return numpyBroadcast(in[0], in[1]) }},
	{"Gather", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[3, " + dim(r) + "] f32", "= 0 2"}, nil
	}, func(in [][]int64, c constants64, _ ir.Attrs) []int64 { return []int64{int64(len(c[1])), in[0][1]} }},
	{"Reshape", func(r *rand.Rand) ([]string, ir.Attrs) {
		shape := []string{"= 0 -1", "= -1 2", "= 2 -1", "= -1", "= 0 0", "= -1 0", "= 1 -1 1"}[r.IntN(7)]
		return []string{"[" + dim(r) + ", " + dim(r) + "] f32", shape}, nil
	}, func(in [][]int64, c constants64, _ ir.Attrs) []int64 {
		out, rest, known := slices.Clone(c[1]), -1, int64(1)
		for i, d := range out {
			switch {
			case d == 0 && i < len(in[0]):
				out[i] = in[0][i]
				known *= out[i]
			case d == -1:
				rest = i
			default:
				known *= d
			}
		}
		size := product(in[0])
		if rest < 0 {
			if known != size {
				return nil
			}
			return out
		}
		for n := int64(0); n <= size; n++ { // the only size that fits
			if known != 0 && n*known == size {
				out[rest] = n
				return out
			}
		}
		return nil
	}},
	{"Range", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"= " + fmt.Sprint(r.IntN(5)), "= " + fmt.Sprint(r.IntN(9)), "= " + fmt.Sprint(oneOf(r, 1, 2, 3, -1, -2))}, nil
	}, func(_ [][]int64, c constants64, _ ir.Attrs) []int64 {
		n, step := int64(0), c[2][0]
		for i := c[0][0]; step > 0 && i < c[1][0] || step < 0 && i > c[1][0]; i += step {
			n++
		}
		return []int64{n}
	}},
	{"Resize", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[" + dim(r) + "] f32", "", "", "= " + fmt.Sprint(1+r.IntN(5))}, attrs("mode", "nearest")
	}, func(in [][]int64, c constants64, _ ir.Attrs) []int64 {
		if in[0][0] == 0 {
			return nil
		}
		return c[3]
	}},
	{"TopK", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[" + dim(r) + ", " + dim(r) + "] f32", "= " + fmt.Sprint(r.IntN(4))}, nil
	}, func(in [][]int64, c constants64, _ ir.Attrs) []int64 {
		if c[1][0] > in[0][1] {
			return nil
		}
		return []int64{in[0][0], c[1][0]}
	}},
	{"NonZero", func(r *rand.Rand) ([]string, ir.Attrs) { return []string{"[" + dim(r) + ", " + dim(r) + "] f32"}, nil },
		func([][]int64, constants64, ir.Attrs) []int64 { return []int64{2, -1} }},
	{"Unique", func(r *rand.Rand) ([]string, ir.Attrs) { return []string{"[" + dim(r) + ", " + dim(r) + "] f32"}, nil },
		func([][]int64, constants64, ir.Attrs) []int64 { return []int64{-1} }},
	{"Compress", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[" + dim(r) + ", 2] f32", "[" + dim(r) + "] bool"}, attrs("axis", 0)
	}, func([][]int64, constants64, ir.Attrs) []int64 { return []int64{-1, 2} }},
	{"NonMaxSuppression", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"[1, n, 4] f32", "[1, " + []string{"1", "k"}[r.IntN(2)] + ", n] f32", "= " + fmt.Sprint(r.IntN(4))}, nil
	}, func([][]int64, constants64, ir.Attrs) []int64 { return []int64{-1, 3} }},
}

// windows counts where a window fits; rounding up the last one may reach beyond, and none
// starts behind the data.
func windows(d, kernel, stride, dilation, before, after int64, up bool) []int64 {
	extent := dilation*(kernel-1) + 1
	if d == 0 || d+before+after < extent {
		return nil
	}
	n := int64(0)
	for at := int64(0); ; at += stride {
		whole := at+extent <= d+before+after
		if !whole && (!up || at-stride+extent >= d+before+after) || up && at >= d+before {
			return []int64{1, 1, n}
		}
		n++
	}
}

func numpyBroadcast(a, b []int64) []int64 {
	out := make([]int64, max(len(a), len(b)))
	at := func(s []int64, i int) int64 {
		if i -= len(out) - len(s); i < 0 {
			return 1
		}
		return s[i]
	}
	for i := range out {
		x, y := at(a, i), at(b, i)
		switch {
		case x == y || y == 1:
			out[i] = x
		case x == 1:
			out[i] = y
		default:
			return nil
		}
	}
	return out
}

func product(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// What operators say of sizes is what counting gives, for every value of the symbols.
func TestShapeRules(t *testing.T) {
	const calls, sizes = 30, 25
	for _, rule := range shapeRules {
		t.Run(rule.op, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			legal := 0
			for range calls {
				in, as := rule.draw(r)
				for range sizes {
					if rule.holds(t, in, as, map[string]int64{"n": r.Int64N(6), "m": r.Int64N(5), "k": r.Int64N(4)}, r) {
						legal++
					}
				}
			}
			if legal < calls {
				t.Errorf("%d of %d calls are legal", legal, calls*sizes)
			}
		})
	}
}

// holds runs a call at some sizes, and says whether it is legal there.
func (rule *shapeRule) holds(t *testing.T, in []string, as ir.Attrs, symbols map[string]int64, r *rand.Rand) bool {
	t.Helper()
	what := fmt.Sprintf("%s%v %v at %v", rule.op, in, as, symbols)
	m := ir.NewModule("test")
	f := &ir.Func{Name: "main"}
	m.Funcs = append(m.Funcs, f)
	b := ir.NewBuilder(m, f)
	args := make([]*ir.Value, len(in))
	shapes := make([][]int64, len(in))
	known := constants64{}
	var inputs []tensor.Value
	for i, s := range in {
		switch v, isConst := strings.CutPrefix(s, "="); {
		case isConst:
			for _, w := range strings.Fields(v) {
				var n int64
				if _, err := fmt.Sscan(w, &n); err != nil {
					t.Fatal(err)
				}
				known[i] = append(known[i], n)
			}
			if args[i] = b.Ints(known[i]...); rule.op == "Range" {
				args[i] = b.Const(tensor.Scalar(known[i][0]))
			}
		case s != "":
			typ := typed(t, s).(ir.TensorType)
			args[i] = b.Param(fmt.Sprintf("x%d", i), typ)
			for _, d := range typ.Dims {
				n, err := d.Eval(func(name string) (int64, bool) { n, ok := symbols[name]; return n, ok })
				if err != nil {
					t.Fatal(err)
				}
				shapes[i] = append(shapes[i], n)
			}
			x := tensor.New(typ.DType, shapes[i]...)
			for j := range x.Len() {
				if typ.DType == tensor.Bool {
					x.SetBool(j, r.IntN(2) == 0)
				} else {
					x.SetFloat(j, float64(r.IntN(3)))
				}
			}
			inputs = append(inputs, x)
		}
	}
	want := rule.count(shapes, known, as)
	y := b.OpN(1, fullName(rule.op), args, as)[0]
	if err := b.Err(); err != nil {
		if want != nil {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
		return false
	}
	b.Return(y)
	ty, _ := y.Tensor()
	out, err := interp.Run(context.Background(), m, inputs, interp.Options{})
	if want == nil || err != nil && slices.Contains(want, -1) {
		return false // what is not legal fails when it runs, or is not asked about
	}
	if err != nil {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
	got := out[0].(*tensor.Tensor).Shape()
	env := ir.NewEnv(nil)
	for name, n := range symbols {
		env.Set(name, n, "the test")
	}
	for i, n := range want {
		if n >= 0 && got[i] != n {
			t.Fatalf("%s is %v, want %v", what, got, want)
		}
		e := ty.Dims[i]
		if name, bare := e.Symbol(); bare && n < 0 { // of the data: within its bounds
			env.Set(name, got[i], "the data")
			if err := env.Check(m.Syms); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			continue
		}
		if v, err := env.Eval(e); err == nil && v != got[i] {
			t.Fatalf("%s: dim %d, %s, is %d, it is %d", what, i, e, v, got[i])
		} else if err != nil && onlyKnown(e, symbols) && n >= 0 {
			t.Fatalf("%s: dim %d, %s: %v", what, i, e, err)
		}
	}
	return true
}

func onlyKnown(e sym.Expr, symbols map[string]int64) bool {
	for _, name := range e.Symbols() {
		if _, ok := symbols[name]; !ok {
			return false
		}
	}
	return true
}
