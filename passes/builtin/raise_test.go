package builtin_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// TestRaised runs the cases of raise before and after on drawn inputs: of no, one and more
// elements, with NaN and infinities among them, and of the other float types.
func TestRaised(t *testing.T) {
	files, err := filepath.Glob("testdata/raise_*.pit")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, cases := splitCases(t, string(src))
		for _, c := range cases {
			if c.fails != "" { // which TestFiles sees
				continue
			}
			for _, d := range []string{"f32", "f64", "f16", "bf16"} {
				t.Run(fmt.Sprintf("%s/%s/%s", filepath.Base(file), c.title, d), func(t *testing.T) { checkRaised(t, c, d) })
			}
		}
	}
}

// inType gives a module in another float type than f32, ok where that has a meaning.
func inType(src, d string) (m *ir.Module, ok bool) {
	dt, _ := tensor.ParseDType(d)
	if d != "f32" && (strings.Contains(src, " f16") || strings.Contains(src, " bf16")) {
		return nil, false
	}
	src = strings.ReplaceAll(src, " f32", " "+d)
	src = strings.ReplaceAll(src, "{to = 1}", fmt.Sprintf("{to = %d}", dt.ONNX()))
	m, err := text.Parse("before", []byte(src), nil)
	return m, err == nil && ir.Verify(m) == nil
}

func checkRaised(t *testing.T, c fileCase, d string) {
	before, ok := inType(c.before, d)
	if !ok {
		if d == "f32" {
			t.Fatal("the module is not valid")
		}
		return // it is about small floats as it stands
	}
	after, _ := inType(c.before, d)
	if _, err := runPasses(after, c.passes); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	ran := 0
	for round := 0; ran < 24 && round < 400; round++ {
		args := drawArgs(r, before.Main(), ran)
		want, err := interp.Run(context.Background(), before, args, interp.Options{})
		got, err2 := interp.Run(context.Background(), after, args, interp.Options{})
		if err != nil {
			continue // sizes that do not fit
		}
		if err2 != nil {
			t.Fatalf("round %d: it ran before, and now: %v", round, err2)
		}
		ran++
		for i := range want {
			w, g := want[i].(*tensor.Tensor), got[i].(*tensor.Tensor)
			if err := tensor.Compare(g, w, looser(w.DType())); err != nil {
				t.Fatalf("round %d: result %d: %v\n%v", round, i, err, args)
			}
		}
	}
	if ran < 24 {
		t.Errorf("%d of 400 runs did not fail: the case is no good", ran)
	}
}

// looser is the tolerance for sums that are rounded in another order. Small floats are
// rounded between the operators of a spelling, and not within one operator: by a few units
// of what is added up, which is about 1.
func looser(d tensor.DType) tensor.Tolerance {
	tol := tensor.DefaultTolerance(d)
	switch d {
	case tensor.F16:
		tol.ATol = 16 * math.Exp2(-11)
	case tensor.BF16:
		tol.ATol = 16 * math.Exp2(-8)
	}
	return tol
}

// drawArgs draws operands of a function. In the first rounds sizes are 0 and 1, and from
// the tenth on floats are special here and there.
func drawArgs(r *rand.Rand, f *ir.Func, round int) []tensor.Value {
	sizes := map[string]int64{}
	size := func(name string) (int64, bool) {
		if _, ok := sizes[name]; !ok {
			sizes[name] = r.Int64N(6)
			if round < 4 {
				sizes[name] = r.Int64N(2)
			}
		}
		return sizes[name], true
	}
	var args []tensor.Value
	for _, p := range f.Params {
		tt, _ := p.Tensor()
		shape := make([]int64, len(tt.Dims))
		for i, e := range tt.Dims {
			shape[i], _ = e.Eval(size)
		}
		x := tensor.New(tt.DType, shape...)
		for i := range x.Len() {
			switch {
			case tt.DType == tensor.Bool:
				x.SetBool(i, r.IntN(3) > 0)
			case tt.DType.IsInt():
				x.SetInt(i, r.Int64N(4))
			case round >= 10 && round%2 == 0 && r.IntN(8) == 0:
				x.SetFloat(i, []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1)}[r.IntN(5)])
			default:
				x.SetFloat(i, r.NormFloat64())
			}
		}
		args = append(args, x)
	}
	return args
}
