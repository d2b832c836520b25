package text_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/text"
)

// everything uses every construct of the form, and is written as Print writes it.
const everything = `module "every \"thing\"" {
  dims batch in [1, 64], heads, n in [0, 512] multiple 8, "odd name" in [2, *], seq
  where 64*heads == 768, n <= batch*seq
  meta producer = "trainer", producer_version = "1.2", domain = "org", doc = "two\nlines", ir_version = 10, opset "" = 21, opset "com.x" = 1, prop "k" = "v"

  const @w: [2, 2] f32 = {1, 0x7fc00001, -inf, nan}
  const @"a/b": [] str = {"caf\xe9 \"q\""}
  const @c: [2] c64 = {(1, -0), (0.1, inf)}
  const @h: [3] f8e4m3fn = {0.5, 448, nan}
  const @none: [0, 4] bool = {}
  const @q: [3] i4 = {-8, 7, 0}

  func @main(%x: [batch, 2] f32, %"in.": seq([seq] f32), %any: [*] ?, %cond: [] bool) -> ("y": [batch, 2] f32, "unused": [2, 2] f32) {
    %0: [batch, 2] f32 = onnx.MatMul(%x, @w) @ "MatMul_0"
    %1: [batch, 2] f32, _ = unknown 3 "my.op-x"(%0, _, %any) {f = 0.1f, fs = [1.0, 1e-05f, -inf, 0.3333333333333333], i = -3, is = [1, 2], none = ints[], nothing = floats[], nowhere = strings[], s = "a\"b", ss = ["x", ""], "t/u" = f32[2] {1.5, nan}, ty = type optional([n, 2*batch] i64), u = u8[] {7}}
    %store: storage = vm.alloc() {bytes = "batch * 8"}
    %2: [batch, 2] f32 = call @double[batch](%0) in %store @ "double"
    %3: [batch, 2] f32, %4: [batch] i64 = call kernel @cpu.top[batch](%2) in %store, _
    %5: [4, 2] f32 = match_cast(%2)
    %6: [batch, 2] f32 = onnx.If(%cond) { ()
      %7: [batch, 2] f32 = onnx.Relu(%x)
      yield %7
    } { ()
      yield %x
    } @ "If_3"
    %8: [batch, 2] f32 = call @helper(%6)
    vm.release(%0, %3)
    return %8, @w
  }

  func @helper(%x: [m, 2] f32) -> ([m, 2] f32) {
    return %x
  }

  kernel @cpu.top = @top {lanes = 8, tiles = [4, 4]}

  program @double[m](X: [m, 2] f32) -> (Y: [m, 2] f32) {
    Y[i < m, j < 2] = (X[i, j] * f32 2)
  }

  program @top[m](X: [m, 2] f32) -> (V: [m, 2] f32, I: [m] i64) {
    best, I[i < m] f32, i64 = argmax(j < 2) X[i, j], j
    V[i < m, j < 2] = X[i, j]
  }
}
`

func parse(t *testing.T, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse("t.pit", []byte(src), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return m
}

func TestEverythingRoundTrips(t *testing.T) {
	m := parse(t, everything)
	if err := ir.Verify(m); err != nil {
		t.Fatal(err)
	}
	if got := text.String(m); got != everything {
		t.Errorf("got:\n%s\nwant:\n%s", got, everything)
	}
}

func TestErrorsSayWhere(t *testing.T) {
	for _, c := range []struct{ src, place, msg string }{
		{"", "t:1:1", "expected module"},
		{"module {\n  bad\n}", "t:2:3", "found \"bad\""},
		{"module {\n  func @f() -> () {\n    %x: [2] f32 = onnx.None()\n", "t:3:19", "no operator onnx.None"},
		{"module { func @f() -> () { return %y } }", "t:1:35", "%y is not defined"},
		{"module { const @a: [1000000000] f32 = {1} }", "t:1:40", "more elements than are here"},
		{"module { const @a: [2] i8 = {1, 200} }", "t:1:33", "no i8"},
		{"module { const @a: [n] i8 = {1} }", "t:1:20", "known element type and size"},
		{"module { const @a: [9] i8 = {...} }", "t:1:33", "left out"},
		{"module { func @f(%x: [2 2] f32) -> () { return } }", "t:1:23", "symbolic"},
		{"module { kernel @k = @p }", "t:1:23", "no program @p"},
		{"module { program @p() -> () { y[i < 2] f32 = x[i] } }", "t:1:46", "no buffer x"},
		{"module { program @p() -> () { y[i < 2] f32 = foo(i) } }", "t:1:46", "no operation foo"},
		{"module { func @f(%x: [2] f32) -> ([3] f32) { return %x } }", "t:1:35", "of other number or types"},
		{"module { where 1 == 2 }", "t:1:1", "contradicts"},
		{"module { } x", "t:1:12", "behind the module"},
		{"module { func @f() -> () { return } func @f() -> () { return } }", "t:1:43", "defined twice"},
	} {
		_, err := text.Parse("t", []byte(c.src), nil)
		var e *diag.Error
		if !errors.As(err, &e) || e.Code != diag.Malformed || e.File != c.place || !strings.Contains(e.Msg, c.msg) {
			t.Errorf("%s\n  got %v, want %s ... %s", c.src, err, c.place, c.msg)
		}
	}
}

func TestParseType(t *testing.T) {
	for _, s := range []string{"[batch, 2*seq] f32", "[*] ?", "[] i4", "[*] f16", "seq([n] i64)", "optional(seq([*] ?))", "storage"} {
		ty, err := text.ParseType(s)
		if err != nil || ty.String() != s {
			t.Errorf("%s: got %v, %v", s, ty, err)
		}
	}
	for _, s := range []string{"", "[", "[n f32", "[n] f33", "[n] f32 x", strings.Repeat("seq(", 1000)} {
		if ty, err := text.ParseType(s); err == nil {
			t.Errorf("%s: got %v", s, ty)
		}
	}
}

func TestElide(t *testing.T) {
	var b strings.Builder
	if err := text.Print(&b, parse(t, "module { const @w: [3] f32 = {1, 2, 3} const @v: [2] f32 = {1, 2} }"), text.Options{Elide: 2}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "module {\n\n  const @w: [3] f32 = {...}\n  const @v: [2] f32 = {1, 2}\n}\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
