package kernel_test

import (
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/runtime/kernel"
)

func programOf(t testing.TB, src string) *ir.Program {
	t.Helper()
	m, err := text.Parse("test", []byte("module {\n"+src+"\n}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.Programs[0]
}

// What has no kernel is told the same way for a stage and for a program.
func TestWhy(t *testing.T) {
	for _, c := range []struct{ src, why string }{
		{"program @p[n](x: [n] f32) -> (y: [n] f32) {\n y[i < n] = (x[i] + f32 1)\n}", ""},
		{"program @p[n](x: [n] f64) -> (y: [n] f64) {\n y[i < n] = (x[i] + f64 1)\n}", ""},
		{"program @p[n](x: [n] i64) -> (y: [n] f32) {\n y[i < n] = f32(x[i])\n}", ""},
		{"program @p[n](x: [n] i64) -> (y: [n] f16) {\n y[i < n] = f16(x[i])\n}", "a conversion from i64 to f16"},
		{"program @p[n](x: [n] f16) -> (y: [n] f16) {\n y[i < n] = f16((f32(x[i]) + f32 1))\n}", ""},
		{"program @p[n](x: [n] u16) -> (y: [n] u16) {\n y[i < n] = x[i]\n}", "y is u16"},
		{"program @p[n](x: [n] i64) -> (y: [n] i64) {\n y[i < n] = (x[i] // i64 3)\n}", "floordiv of what memory tells"},
		{"program @p[n](x: [n] f32) -> (y: [n] f32) {\n y[i < n] = atan2(x[i], x[i])\n}", "atan2 of f32"},
		{"program @p[n](x: [n] f32, at: [n] i64) -> (y: [n] f32) {\n y[i < n] = x[at[i]]\n}", ""},
	} {
		p := programOf(t, c.src)
		why := kernel.Why(p.Stages[0])
		s := kernel.New(p, kernel.Options{Lanes: 8, Wide: 4})
		if (why == "") != (c.why == "") || !strings.Contains(why, c.why) || len(s.Groups) != map[bool]int{true: 1}[why == ""] {
			t.Errorf("%s\nwhy: %q, want %q; %d kernels: %v", c.src, why, c.why, len(s.Groups), s.Refused)
		}
	}
}

const normalisation = `program @p[n, m](x: [n, m] f32, w: [m] f32) -> (y: [n, m] f32) {
  c[i < n, k < m] f32 = (x[i, k] + w[k])
  t[i < n] f32 = sum(k < m) c[i, k]
  y[i < n, k < m] = (c[i, k] / t[i])
}`

// A kernel's text; rows are a range, what is between the stages is scratch of one row.
func TestText(t *testing.T) {
	s := kernel.New(programOf(t, normalisation), kernel.Options{Lanes: 8})
	if len(s.Groups) != 1 {
		t.Fatal(s.Refused)
	}
	got := s.Groups[0].Kernel.String()
	for _, want := range []string{"c: f32[m] scratch", "y: f32[m*n] written", "range 0: n", "step 32 {", "step 8 with tail {", "swap 4"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "t: f32") {
		t.Errorf("what only the row needs is in memory:\n%s", got)
	}
}

// Bounds are proved for all sizes, and what is out of them is found.
func TestVerify(t *testing.T) {
	k := kernel.New(programOf(t, normalisation), kernel.Options{Lanes: 8}).Groups[0].Kernel
	ctx := sym.NewContext()
	for _, s := range []string{"n", "m"} {
		if err := ctx.SetRange(s, 1, sym.Inf); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Verify(ctx); err != nil {
		t.Fatal(err)
	}
	size := k.Buffers[0].Len
	k.Buffers[0].Len = size.Sub(sym.Const(1))
	if err := k.Verify(ctx); err == nil || !strings.Contains(err.Error(), "in bounds") {
		t.Errorf("one element too many: %v", err)
	}
	k.Buffers[0].Len = size

	// Every value once in a place where it is not known, and of another kind.
	var spoil func(b *kernel.Block)
	n := 0
	spoil = func(b *kernel.Block) {
		for i, v := range b.List {
			if v.Op == kernel.OpLoop {
				spoil(v.Loop.Body)
				continue
			}
			if v.Op == kernel.OpStore {
				continue
			}
			b.List = append(append([]*kernel.Value(nil), b.List[:i]...), b.List[i+1:]...)
			used := k.Verify(nil) != nil
			b.List = append(append(append([]*kernel.Value(nil), b.List[:i]...), v), b.List[i:]...)
			kind := v.Kind
			v.Kind = kernel.Mask
			if kind != kernel.Mask && k.Verify(nil) == nil {
				t.Errorf("%s gives a mask", v.Op)
			}
			v.Kind = kind
			if used {
				n++
			}
		}
	}
	spoil(k.Body)
	if n < 10 {
		t.Errorf("%d values that are missing were found", n)
	}
	if err := k.Verify(nil); err != nil {
		t.Fatal(err)
	}
}

// An index that sizes take out of bounds does not bind.
func TestBind(t *testing.T) {
	k := kernel.New(programOf(t, "program @p[n, at](x: [n] f32) -> (y: [2] f32) {\n y[i < 2] = x[(i + {at})]\n}"), kernel.Options{Lanes: 8}).Groups[0].Kernel
	for at, good := range map[int64]bool{0: true, 3: true, 4: false, -1: false} {
		_, err := k.Bind(func(s string) (int64, bool) { return map[string]int64{"n": 5, "at": at}[s], true })
		if (err == nil) != good {
			t.Errorf("at %d: %v", at, err)
		}
	}
}

// Pieces are the whole box, each point once.
func TestCut(t *testing.T) {
	k := kernel.New(programOf(t, "program @p[n, m](x: [m, n, 3] f32) -> (y: [n, m, 3] f32) {\n y[i < n, j < m, k < 3] = x[j, i, k]\n}"), kernel.Options{Lanes: 8}).Groups[0].Kernel
	for _, most := range []float64{1, 10, 100, 1e6} {
		b, err := k.Bind(func(s string) (int64, bool) { return map[string]int64{"n": 7, "m": 11}[s], true })
		if err != nil {
			t.Fatal(err)
		}
		seen := map[[3]int64]int{}
		c := b.Cut(most)
		r := make([]int64, 2*len(b.Extents))
		for i := range c.Pieces() {
			c.Piece(i, r)
			for x := r[0]; x < r[1]; x++ {
				for y := r[2]; y < r[3]; y++ {
					for z := r[4]; z < r[5]; z++ {
						seen[[3]int64{x, y, z}]++
					}
				}
			}
		}
		if len(seen) != 7*11*3 {
			t.Errorf("%g: %d of %d points", most, len(seen), 7*11*3)
		}
		for p, n := range seen {
			if n != 1 {
				t.Errorf("%g: point %v is computed %d times", most, p, n)
			}
		}
	}
}
