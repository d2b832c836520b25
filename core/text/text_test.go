package text_test

import (
	_ "embed"
	"errors"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/text"
)

// everything uses every construct of the form, and is written as Print writes it.
//
//go:embed testdata/everything.pit
var everything string

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
