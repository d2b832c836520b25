package ir_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// whole is a valid module with something for every rule.
const whole = `
module "whole" {
  dims n in [0, 8]
  const @c: [2] f32 = {1, 2}

  func @main(%x: [n, 2] f32, %p: [] bool, %trips: [] i64) -> ("y": [n, 2] f32, "z": [2, n] f32) {
    %a: [n, 2] f32 = onnx.Add(%x, @c)
    %soft: [n, 2] f32 = onnx.Softmax(%a) {axis = 1}
    %v: [2, n] f32 = vm.view(%soft) {type = type [2, n] f32}
    %m: [n, 2] f32 = match_cast(%a)
    %i: [n, 2] f32 = onnx.If(%p) { ()
      %r: [n, 2] f32 = onnx.Relu(%m)
      yield %r
    } { ()
      yield %x
    }
    %w: [n, 2] f32 = onnx.Loop(%trips, _, %i) { (%at: [] i64, %on: [] bool, %was: [n, 2] f32)
      %is: [n, 2] f32 = onnx.Relu(%was)
      yield %on, %is
    }
    %s: storage = vm.alloc() {bytes = "8*n"}
    %t: storage = vm.alloc() {bytes = "8*n"}
    %d: [n, 2] f32 = call @double[n](%w) in %s
    %e: [n, 2] f32 = call kernel @cpu.double[n](%d) in %t
    %f: [n, 2] f32 = call @double[n](%e) in %s
    %g: [n, 2] f32 = call @half(%f)
    %h: [n, 2] f32 = call @double[n](%g)
    %line: [2*n] f32 = vm.view(%soft) {type = type [2*n] f32}
    %k: [2*n] i64 = onnx.Cast(%line) {to = 7}
    %u1: storage = vm.alloc() {bytes = "8*n"}
    %u2: storage = vm.alloc() {bytes = "8*n"}
    %u3: storage = vm.alloc() {bytes = "8*n"}
    %small: storage = vm.alloc() {bytes = "8*n - 1"}
    _, %lies: [2*n] f32, _ = call @stages[2*n](%line, %k) in _, %u1, _
    _, %p2: [2*n] f32, %q2: [2*n] f32 = call @stages[2*n](%lies, %k) in _, %u3, %u2 with %u3
    vm.release(%a, %i)
    return %h, %v
  }

  func @half(%"x of half": [k, 2] f32) -> ([k, 2] f32) {
    %halves: [k, 2] f32 = onnx.Abs(%"x of half")
    return %halves
  }

  kernel @cpu.double = @double {lanes = 8}

  program @double[m](X: [m, 2] f32) -> (Y: [m, 2] f32) {
    Y[i < m, j < 2] = (X[i, j] * f32 2)
  }

  program @stages[m](X: [m] f32, I: [m] i64) -> (S: [] f32, P: [m] f32, Q: [m] f32) {
    S[] = sum(i < m) X[i]
    P[i < m] = scan sum(i) X[i]
    t[i < m] f32 = (X[i] + P[i])
    Q[i < m] = scatter sum(t, [I[i]]) X[i]
  }
}`

func parse(t testing.TB, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse("test", []byte(src), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return m
}

// stmt is the statement that defines a value of @main.
func stmt(m *ir.Module, result string) *ir.Stmt {
	var found *ir.Stmt
	m.Main().Walk(func(s *ir.Stmt) {
		for _, r := range s.Results {
			if r != nil && r.Name == result {
				found = s
			}
		}
	})
	return found
}

func value(m *ir.Module, name string) *ir.Value {
	for _, p := range m.Main().Params {
		if p.Name == name {
			return p
		}
	}
	for _, r := range stmt(m, name).Results {
		if r != nil && r.Name == name {
			return r
		}
	}
	return nil
}

// A breach changes the whole module so that it breaks one rule: by other text, or, where
// the text form can not say it, by an edit.
type breach struct {
	rule     string
	old, new string
	edit     func(*ir.Module)
	says     string // a part of the message
}

func cut(rule, old, new, says string) breach {
	return breach{rule: rule, old: old, new: new, says: says}
}
func edit(rule, says string, f func(*ir.Module)) breach {
	return breach{rule: rule, edit: f, says: says}
}

func program(name string) func(*ir.Module) *ir.Program {
	return func(m *ir.Module) *ir.Program { return m.Program(name) }
}

var double, stages = program("double"), program("stages")

var breaches = []breach{
	edit("complete", "no symbols", func(m *ir.Module) { m.Syms = nil }),
	edit("complete", "a function", func(m *ir.Module) { m.Funcs = append(m.Funcs, nil) }),
	edit("complete", "a program", func(m *ir.Module) { m.Programs = append(m.Programs, nil) }),
	edit("complete", "a kernel", func(m *ir.Module) { m.Kernels = append(m.Kernels, nil) }),
	edit("complete", "constant", func(m *ir.Module) { m.Consts = append(m.Consts, nil) }),
	edit("complete", "its tensor", func(m *ir.Module) { m.Consts = append(m.Consts, &ir.Const{Name: "d"}) }),
	edit("complete", "parameter 0", func(m *ir.Module) { m.Main().Params[0] = nil }),
	edit("complete", "a statement", func(m *ir.Module) { m.Main().Stmts[0] = nil }),
	edit("complete", "result 0", func(m *ir.Module) { m.Main().Results[0] = nil }),
	edit("complete", "a block", func(m *ir.Module) { stmt(m, "i").Regions[1] = nil }),
	edit("complete", "the operator", func(m *ir.Module) { stmt(m, "a").Op = nil }),
	edit("complete", "what is called", func(m *ir.Module) { stmt(m, "d").Callee = nil }),
	edit("complete", "operand 0", func(m *ir.Module) { stmt(m, "d").Args[0] = nil }),
	edit("complete", "operand 1", func(m *ir.Module) {
		for _, s := range m.Main().Stmts {
			if s.Op != nil && s.Op.Name == ir.ReleaseName {
				s.Args[1] = nil
			}
		}
	}),
	edit("complete", "no type", func(m *ir.Module) { value(m, "a").Type = nil }),
	edit("complete", "no type", func(m *ir.Module) { value(m, "x").Type = ir.SequenceType{} }),
	edit("complete", "a stage", func(m *ir.Module) { stages(m).Stages[1] = nil }),
	edit("complete", "a buffer", func(m *ir.Module) { stages(m).Params[0] = nil }),
	edit("complete", "a buffer", func(m *ir.Module) { stages(m).Stages[0].Outs[0] = nil }),
	edit("complete", "result 1", func(m *ir.Module) { stages(m).Results[1] = nil }),
	edit("complete", "an axis or expression", func(m *ir.Module) { stages(m).Stages[0].Exprs[0] = nil }),
	edit("complete", "an axis or expression", func(m *ir.Module) { stages(m).Stages[0].Red[0] = nil }),
	edit("complete", "an operand of mul", func(m *ir.Module) { double(m).Stages[0].Exprs[0].Args[1] = nil }),
	edit("complete", "a load from nothing", func(m *ir.Module) { stages(m).Stages[0].Exprs[0].Buf = nil }),

	edit("unique-names", `function name "main"`, func(m *ir.Module) { m.Funcs[1].Name = "main" }),
	edit("unique-names", `program name "half"`, func(m *ir.Module) { m.Programs[1].Name = "half" }),
	edit("unique-names", `kernel name "double"`, func(m *ir.Module) { m.Kernels[0].Name = "double" }),
	edit("unique-names", `constant name ""`, func(m *ir.Module) { m.Consts[0].Name = "" }),
	edit("unique-names", "%x", func(m *ir.Module) { value(m, "r").Name = "x" }),
	cut("unique-names", `"z": [2, n]`, `"y": [2, n]`, `two results have the name "y"`),
	edit("unique-names", "3 names for 2 results", func(m *ir.Module) { m.Main().ResultNames = []string{"y", "z", "u"} }),

	edit("constants", "constant @c", func(m *ir.Module) {
		c := m.Consts[0]
		stmt(m, "a").Args[1] = &ir.Value{Name: "c", Type: ir.TypeOf(c.Tensor), Const: c}
	}),

	edit("constants", "its value [3] f32", func(m *ir.Module) { m.Consts[0].Value().Type = ir.TensorOf(tensor.F32, sym.Const(3)) }),

	edit("callee-in-module", "not in the module", func(m *ir.Module) { stmt(m, "d").Callee = double(m).Clone(nil) }),
	edit("callee-in-module", "not in the module", func(m *ir.Module) { m.Funcs = m.Funcs[:1] }),
	edit("callee-in-module", "computes no program", func(m *ir.Module) { m.Kernels[0].Program = nil }),

	cut("no-recursion", `onnx.Abs(%"x of half")`, `call @half(%"x of half")`, "calls itself"),
	{rule: "no-recursion", says: "calls itself", edit: func(m *ir.Module) { // through another function
		half := m.Func("half")
		x, y := &ir.Value{Name: "x", Type: half.Params[0].Type}, &ir.Value{Name: "y", Type: half.Params[0].Type}
		s := &ir.Stmt{Kind: ir.CallStmt, Callee: half, Args: []*ir.Value{x}, Results: []*ir.Value{y}}
		y.Def = s
		other := &ir.Func{Name: "other", Block: ir.Block{Params: []*ir.Value{x}, Stmts: []*ir.Stmt{s}, Results: []*ir.Value{y}}}
		m.Funcs = append(m.Funcs, other)
		half.Stmts[0].Kind, half.Stmts[0].Op, half.Stmts[0].Callee = ir.CallStmt, nil, other
	}},

	edit("one-definition", "%a", func(m *ir.Module) { value(m, "a").Def = nil }),
	edit("one-definition", "%a", func(m *ir.Module) { value(m, "a").Index = 1 }),
	edit("one-definition", "%p", func(m *ir.Module) { value(m, "p").Index = 0 }),
	edit("one-definition", "twice", func(m *ir.Module) { m.Main().Stmts = append(m.Main().Stmts, stmt(m, "a")) }),
	edit("one-definition", "%x", func(m *ir.Module) { value(m, "x").Const = m.Consts[0] }),

	edit("visible-operands", "%soft", func(m *ir.Module) { stmt(m, "a").Args[0] = value(m, "soft") }),
	edit("visible-operands", "%a", func(m *ir.Module) { stmt(m, "a").Args[0] = value(m, "a") }), // its own result
	edit("visible-operands", "%r", func(m *ir.Module) { stmt(m, "w").Args[2] = value(m, "r") }), // of a region, behind it
	edit("visible-operands", "%r", func(m *ir.Module) { stmt(m, "i").Regions[1].Results[0] = value(m, "r") }),
	edit("visible-operands", "%is", func(m *ir.Module) { m.Main().Results[0] = value(m, "is") }),
	edit("visible-operands", "%x of half", func(m *ir.Module) { stmt(m, "d").Args[0] = m.Func("half").Params[0] }),
	edit("visible-operands", "constant @c", func(m *ir.Module) { m.Consts = nil }),

	cut("types", "%d: [n, 2] f32", "%d: [-2, 2] f32", "dim 0 of %d is -2"),
	edit("types", "has no value", func(m *ir.Module) {
		huge := sym.Const(1 << 62)
		value(m, "m").Type = ir.TensorOf(tensor.F32, huge.Mul(huge), sym.Const(2))
	}),
	edit("types", "element type", func(m *ir.Module) { value(m, "m").Type = ir.TensorType{DType: 200, Unranked: true} }),
	edit("types", "no rank", func(m *ir.Module) {
		value(m, "m").Type = ir.TensorType{DType: tensor.F32, Unranked: true, Dims: ir.Consts([]int64{1})}
	}),
	edit("types", "a type that there is not", func(m *ir.Module) { value(m, "x").Type = &ir.TensorType{DType: tensor.F32} }),
	edit("types", "a type that there is not", func(m *ir.Module) { value(m, "x").Type = ir.OptionalType{Elem: ir.OpaqueType{}} }),
	edit("types", "buffer X has no element type", func(m *ir.Module) { double(m).Params[0].DType = tensor.Invalid }),
	cut("types", "X: [m, 2] f32", "X: [m, -2] f32", "dim 1 of buffer X is -2"),
	edit("types", "axis", func(m *ir.Module) { stages(m).Stages[0].Red[0].Extent = sym.Const(-1) }),

	cut("visible-symbols", "%x: [n, 2] f32", "%x: [n*q, 2] f32", `the symbol "`),                          // a product tells neither factor
	cut("visible-symbols", "%p: [] bool", "%p: [q//2] bool", `the symbol "q"`),                            // many sizes give the same half
	cut("visible-symbols", "%p: [] bool", "%p: seq([q] bool), %q: [q + n*q] bool", `the symbol "q"`),      // elements tell nothing
	cut("visible-symbols", "%d: [n, 2] f32 = call @double[n]", "%d: [q, 2] f32 = call @double[n]", `"q"`), // a call binds nothing
	cut("visible-symbols", "call @double[n](%w)", "call @double[q](%w)", `"q"`),
	cut("visible-symbols", `%s: storage = vm.alloc() {bytes = "8*n"}`, `%s: storage = vm.alloc() {bytes = "8*q"}`, `"q" of bytes`),
	cut("visible-symbols", "type = type [2, n] f32", "type = type [2, q] f32", `"q"`),                                                                                                                      // a view is evaluated before its result is there
	cut("visible-symbols", "%r: [n, 2] f32 = onnx.Relu(%m)\n      yield %r\n    } { ()", "%r: [q, 2] f32 = onnx.Relu(%m)\n      yield %r\n    } { ()\n      %r2: [n, 2] f32 = call @double[q](%x)", `"q"`), // bound in the other branch

	edit("statements", "a kind that there is not", func(m *ir.Module) { stmt(m, "a").Kind = 7 }),
	edit("statements", "no call", func(m *ir.Module) { stmt(m, "a").Callee = double(m) }),
	edit("statements", "no call", func(m *ir.Module) { stmt(m, "a").Bind = []sym.Expr{sym.Var("n")} }),
	edit("statements", "no operator", func(m *ir.Module) { stmt(m, "d").Op = ir.Lookup("onnx.Relu") }),
	edit("statements", "no operator", func(m *ir.Module) { stmt(m, "d").Attrs = ir.MakeAttrs("a", 1) }),
	edit("statements", "no operator", func(m *ir.Module) { stmt(m, "m").Regions = []*ir.Block{{}} }),
	edit("statements", "one operand and one result", func(m *ir.Module) { stmt(m, "m").Args = nil }),
	edit("statements", "one operand and one result", func(m *ir.Module) { stmt(m, "m").Results[0] = nil }),
	cut("statements", "call @half(%f)", "call @half[n](%f)", "operands alone"),

	edit("known-operator", "another operator", func(m *ir.Module) {
		mine := *stmt(m, "a").Op
		stmt(m, "a").Op = &mine
	}),
	edit("known-operator", "another operator", func(m *ir.Module) {
		mine := *stmt(m, "a").Op
		m.Ops = map[string]*ir.OpDef{mine.Name: &mine}
	}),

	cut("attributes", "onnx.Softmax(%a) {axis = 1}", "onnx.Softmax(%a) {axes = 1}", `"axes" is not one`),
	cut("attributes", "onnx.Softmax(%a) {axis = 1}", "onnx.Softmax(%a) {axis = 1.0}", "is a float, it takes a integer"),
	cut("attributes", "onnx.Softmax(%a) {axis = 1}", "onnx.Softmax(%a) {axis = type [2] f32}", "is a type"),
	cut("attributes", `%s: storage = vm.alloc() {bytes = "8*n"}`, "%s: storage = vm.alloc()", `"bytes" is missing`),
	edit("attributes", "stands behind", func(m *ir.Module) {
		stmt(m, "soft").Attrs = append(stmt(m, "soft").Attrs, ir.Attr{Name: "axis", Value: int64(0)})
	}),
	edit("attributes", "which no attribute is", func(m *ir.Module) { stmt(m, "soft").Attrs[0].Value = 1 }),
	edit("attributes", "which no attribute is", func(m *ir.Module) { m.Kernels[0].Attrs[0].Value = (*tensor.Tensor)(nil) }),

	cut("signature", "onnx.Add(%x, @c)", "onnx.Add(%x)", "operand 1 (B) is missing"),
	cut("signature", "onnx.Add(%x, @c)", "onnx.Add(%x, @c, @c)", "3 operands"),
	cut("signature", "onnx.Add(%x, @c)", "onnx.Add(%x, %trips)", "element type i64"),
	cut("signature", "onnx.Add(%x, @c)", "onnx.Add(%x, _)", "operand 1 (B) is missing"),
	cut("signature", "%a: [n, 2] f32 = onnx.Add(%x, @c)", "%a: [n, 2] f32, %b: [n, 2] f32 = onnx.Add(%x, @c)", "2 results"),
	cut("signature", "onnx.If(%p)", "onnx.If(%x)", "element type f32"),

	edit("regions", "1 regions, it takes 2", func(m *ir.Module) { stmt(m, "i").Regions = stmt(m, "i").Regions[:1] }),
	edit("regions", "1 regions, it takes 0", func(m *ir.Module) { stmt(m, "a").Regions = []*ir.Block{{}} }),

	cut("deduced-types", "%a: [n, 2] f32 =", "%a: [n, 3] f32 =", "[n, 2] f32 follows"),
	cut("deduced-types", "%a: [n, 2] f32 =", "%a: [n] f32 =", "follows"),
	cut("deduced-types", "%a: [n, 2] f32 =", "%a: [n, 2] f64 =", "follows"),
	cut("deduced-types", "%a: [n, 2] f32 =", "%a: seq([n, 2] f32) =", "follows"),
	cut("deduced-types", "onnx.Softmax(%a) {axis = 1}", "onnx.Softmax(%a) {axis = 2}", "axis 2 of a rank-2 operand"),
	cut("deduced-types", "%i: [n, 2] f32 =", "%i: [n, 3] f32 =", "follows"), // of regions
	cut("deduced-types", "yield %r\n    } { ()\n      yield %x", "yield %r\n    } { ()\n      yield %p", "in one branch"),
	cut("deduced-types", "yield %r\n    } { ()\n      yield %x", "yield %r\n    } { (%q: [] bool)\n      yield %x", "parameters"),
	cut("deduced-types", "%was: [n, 2] f32)\n      %is: [n, 2] f32", "%was: [n, 3] f32)\n      %is: [n, 3] f32", "carried value 0"),
	cut("deduced-types", "(%at: [] i64, %on: [] bool, %was: [n, 2] f32)", "(%at: [] f32, %on: [] bool, %was: [n, 2] f32)", "iteration number"),
	cut("deduced-types", "yield %on, %is", "yield %at, %is", "condition"),
	cut("deduced-types", "yield %on, %is", "yield %on, %is, %is, %is\n    } @ \"\"\n    %w2: [n, 2] f32, %w3: [n, 2] f32 = onnx.Loop(%trips, _, %i) { (%at2: [] i64, %on2: [] bool, %was2: [n, 2] f32)\n yield %on2, %was2", "results"),

	cut("call-types", "call @double[n](%w) in %s", "call @double[n](%w, %w) in %s", "2 operands, it takes 1"),
	cut("call-types", "call @double[n](%w) in %s", "call @double[n](%p) in %s", "operand 0 has type [] bool"),
	cut("call-types", "call @double[n](%w) in %s", "call @double[n + 1](%w) in %s", "operand 0"),
	cut("call-types", "call @double[n](%w) in %s", "call @double(%w) in %s", "binds 0 symbols"),
	cut("call-types", "%d: [n, 2] f32 = call", "%d: [n, 2] f32, _ = call", "2 results"),
	cut("call-types", "%d: [n, 2] f32 = call", "%d: [n + 1, 2] f32 = call", "%d has type"),
	cut("call-types", "call @half(%f)", "call @half(%v, %v)", "2 operands"),
	cut("call-types", "call @half(%f)", "call @half(%p)", "operand 0 has type [] bool"),
	cut("call-types", "%g: [n, 2] f32 = call", "%g: [n, 3] f32 = call", "%g has type"),
	cut("call-types", `%"x of half": [k, 2] f32) -> ([k, 2] f32)`, `%"x of half": [k, 2] f32, %y: [3, k] f32) -> ([k, 2] f32)`, "1 operands"),

	cut("cast-types", "%m: [n, 2] f32 = match_cast", "%m: [n, 3] f32 = match_cast", "can not be [n, 3] f32"),
	cut("cast-types", "%m: [n, 2] f32 = match_cast", "%m: [n, 2] i32 = match_cast", "can not be"),
	cut("cast-types", "%m: [n, 2] f32 = match_cast", "%m: optional(seq([n] f32)) = match_cast", "can not be"),

	cut("storage", "call @double[n](%w) in %s", "call @double[n](%w) in %x", "no storage"),
	cut("storage", "call @double[n](%w) in %s", "call @double[n](%w) in %s, %t", "2 storages for 1 results"),
	cut("storage", "call @half(%f)", "call @half(%f) in %t", "it may be an operand"),
	edit("storage", "it may be an operand", func(m *ir.Module) { stmt(m, "i").Into = []*ir.Value{stmt(m, "s").Results[0]} }),
	cut("storage", `%s: storage = vm.alloc() {bytes = "8*n"}`, `%s: storage = vm.alloc() {bytes = "8*n - 1"}`, "takes 8*n bytes"),
	cut("storage", `%s: storage = vm.alloc() {bytes = "8*n"}`, `%s: storage = vm.alloc() {bytes = "8*"}`, "bytes ="),
	cut("storage", `%s: storage = vm.alloc() {bytes = "8*n"}`, `%s: storage = vm.alloc() {bytes = "-8"}`, "is -8"),
	cut("storage", "%s: storage = vm.alloc()", "_ = vm.alloc() {bytes = \"1\"}\n    %s: storage = vm.alloc()", "nobody has"),
	edit("storage", "this block allocates", func(m *ir.Module) { // once for all iterations
		f := m.Main()
		body, d := stmt(m, "w").Regions[0], stmt(m, "d")
		alloc := *stmt(m, "s")
		alloc.Results = []*ir.Value{{Name: "early", Type: ir.Storage, Def: &alloc}}
		is := &ir.Stmt{Kind: ir.CallStmt, Callee: d.Callee, Bind: d.Bind, Args: body.Params[2:], Results: body.Stmts[0].Results, Into: alloc.Results}
		is.Results[0].Def, body.Stmts[0] = is, is
		f.Stmts = append([]*ir.Stmt{&alloc}, f.Stmts...)
	}),
	cut("storage", "in _, %u3, %u2 with %u3", "in _, %u3, %u2 with %u3, %u2", "5 storages for 3 results and 1 temporaries"),
	cut("storage", "in _, %u3, %u2 with %u3", "in _, %u3, %u2 with %small", "temporary t takes 8*n bytes"),
	edit("storage", "not asked for", func(m *ir.Module) {
		s := stmt(m, "d")
		s.Results[0] = nil
		stmt(m, "e").Args[0] = value(m, "w")
	}),

	cut("storage-lives", "call kernel @cpu.double[n](%d) in %t", "call kernel @cpu.double[n](%d) in %s", "where its operand %d lies"),
	cut("storage-lives", "call @half(%f)", "call @half(%d)", "%d is read, but %f is placed"),
	cut("storage-lives", "call @double[n](%e) in %s\n", "call @double[n](%e) in %s\n    %late: [n, 2] f32 = onnx.If(%p) { ()\n      yield %d\n    } { ()\n      yield %x\n    }\n", "%d is read"),
	{rule: "storage-lives", says: "%dv is read", edit: func(m *ir.Module) { m.Main().Results[0] = value(m, "dv") }, // through a view
		old: "%e: [n, 2] f32", new: "%dv: [2*n] f32 = vm.view(%d) {type = type [2*n] f32}\n    %e: [n, 2] f32"},
	{rule: "storage-lives", says: "%kept is read", edit: func(m *ir.Module) { m.Main().Results[0] = value(m, "kept") }, // handed on
		old: "%e: [n, 2] f32", new: "%kept: [n, 2] f32 = onnx.If(%p) { ()\n      yield %d\n    } { ()\n      yield %x\n    }\n    %e: [n, 2] f32"},
	cut("storage-lives", "%k: [2*n] i64 = onnx.Cast(%line) {to = 7}", "%room: storage = vm.alloc() {bytes = \"16*n\"}\n    %past: [n, 2] f32 = call @double[n](%h) in %room\n    %k: [2*n] i64 = onnx.Cast(%line) {to = 7} in %room\n    %late: [n, 2] f32 = onnx.Relu(%past)", "%past is read, but %k is placed"),
	cut("storage-lives", "%k: [2*n] i64 = onnx.Cast(%line) {to = 7}", "%room: storage = vm.alloc() {bytes = \"16*n\"}\n    %rest: [n, 2] f32 = onnx.Relu(%h) in %room\n    %more: [n, 2] f32 = onnx.Relu(%rest) in %room\n    %k: [2*n] i64 = onnx.Cast(%line) {to = 7}", "where its operand %rest lies"),
	cut("storage-lives", "in _, %u3, %u2 with %u3", "in _, %u3, %u1 with %u3", "%q2 is placed in %u1, where its operand %lies lies"),
	cut("storage-lives", "in _, %u3, %u2 with %u3", "in _, %u3, %u2 with %u1", "temporary t is placed in %u1, where its operand %lies lies"),
	cut("storage-lives", "in _, %u3, %u2 with %u3", "in _, %u3, %u2 with %u3\n    %late: [2*n] f32 = onnx.Relu(%p2)", "%p2 is read, but temporary t is placed"),
	cut("storage-lives", "t[i < m] f32 = (X[i] + P[i])", "t[i < m] f32 = (X[i] + P[I[i]])", "temporary t is placed in %u3, where P of its program lies"),
	cut("storage-lives", "t[i < m] f32 = (X[i] + P[i])", "t[i < m] f32 = (X[i] + (P[i] + P[0]))", "temporary t is placed in %u3, where P of its program lies"),
	edit("storage-lives", "%d is read", func(m *ir.Module) { m.Main().Results[0] = value(m, "d") }),

	cut("released-values", "vm.release(%a, %i)", "vm.release(%a, %a)", "released twice"),
	cut("released-values", "vm.release(%a, %i)", "vm.release(@c)", "not where it is defined"),
	cut("released-values", "vm.release(%a, %i)", "vm.release(%v)", "%v is used after its release"),
	cut("released-values", "%is: [n, 2] f32 = onnx.Relu(%was)", "vm.release(%m)\n      %is: [n, 2] f32 = onnx.Relu(%was)", "not where it is defined"),
	cut("released-values", "%soft: [n, 2] f32", "vm.release(%a)\n    %soft: [n, 2] f32", "%a is used after its release"),

	edit("program-buffers", `name "Y"`, func(m *ir.Module) { double(m).Params[0].Name = "Y" }),
	edit("program-buffers", `name ""`, func(m *ir.Module) { double(m).Results[0].Name = "" }),
	edit("program-buffers", "result Y is not written", func(m *ir.Module) { double(m).Stages = nil }),
	edit("program-buffers", "P is read before it is written", func(m *ir.Module) {
		s := stages(m).Stages
		s[1], s[2] = s[2], s[1]
	}),
	edit("program-buffers", "t is read before", func(m *ir.Module) {
		s := stages(m).Stages
		s[2], s[3] = s[3], s[2]
	}),
	edit("program-buffers", "written twice", func(m *ir.Module) { double(m).Stages = append(double(m).Stages, double(m).Stages[0]) }),
	edit("program-buffers", "parameter", func(m *ir.Module) { double(m).Stages[0].Outs = double(m).Params }),
	edit("program-buffers", "2 dims in room for 1", func(m *ir.Module) { p := double(m).Params[0]; p.Room = p.Dims[:1] }),
	edit("program-buffers", "dim 1 of buffer X is 2 in room for 1", func(m *ir.Module) {
		p := double(m).Params[0]
		p.Room = []sym.Expr{p.Dims[0], sym.Const(1)}
	}),
	edit("program-buffers", "is part of a larger tensor", func(m *ir.Module) {
		for _, s := range stages(m).Stages {
			if s.Base != nil {
				s.Base.Room = s.Base.Dims
			}
		}
	}),
	edit("program-buffers", "a result twice", func(m *ir.Module) { double(m).Results = append(double(m).Results, double(m).Results[0]) }),

	cut("program-axes", "Y[i < m, j < 2] = (X[i, j] * f32 2)", "Y[i < m] = (X[i, 0] * f32 2)", "2 dims, its stage 1 axes"),
	cut("program-axes", "Y[i < m, j < 2] = (X[i, j] * f32 2)", "Y[i < m, j < 3] = (X[i, j] * f32 2)", "its axis runs to 3"),
	cut("program-axes", "(X[i, j] * f32 2)", "(X[i] * f32 2)", "loaded with 1 indices"),
	cut("program-axes", "scatter sum(t, [I[i]])", "scatter sum(t, [I[i], 0])", "an index for each dim"),
	cut("program-axes", "scatter sum(t, [I[i]])", "scatter sum(S, [I[i]])", "a base of its type"),
	edit("program-axes", "not its stage's", func(m *ir.Module) {
		double(m).Stages[0].Exprs[0].Args[0].Args[0] = stages(m).Stages[0].Red[0].Ix()
	}),
	edit("program-axes", "not its own", func(m *ir.Module) { stages(m).Stages[1].ScanAxis = stages(m).Stages[0].Red[0] }),
	edit("program-axes", "comes twice", func(m *ir.Module) { double(m).Stages[0].Axes[1].Name = "i" }),
	edit("program-axes", "no name", func(m *ir.Module) { double(m).Stages[0].Axes[1].Name = "" }),

	cut("program-symbols", "program @double[m]", "program @double[m, m]", "declared twice"),
	cut("program-symbols", "program @double[m](X: [m, 2] f32)", "program @double[m](X: [q, 2] f32)", `"q" is not declared`),
	cut("program-symbols", "S[] = sum(i < m) X[i]", "S[] = sum(i < q) X[i]", `"q" is not declared`),
	cut("program-symbols", "Y[i < m, j < 2] = (X[i, j] * f32 2)", "Y[i < m, j < 2] = (X[i, j] * f32({q}))", `"q" is not declared`),

	cut("program-types", "(X[i, j] * f32 2)", "(X[i, j] * i64 2)", "mul of type f32"),
	cut("program-types", "(X[i, j] * f32 2)", "(X[i, j] & X[i, j])", "and of type f32"),
	cut("program-types", "(X[i, j] * f32 2)", "f32(((i < 2) + (j < 2)))", "add of type bool"),
	cut("program-types", "(X[i, j] * f32 2)", "(X[i, j] < f32 2)", "its stage computes bool"),
	cut("program-types", "(X[i, j] * f32 2)", "X[i, bool(j)]", "load of type f32"),
	cut("program-types", "(X[i, j] * f32 2)", "select(j, X[i, j], f32 2)", "select of type f32"),
	cut("program-types", "(X[i, j] * f32 2)", "f32((f16 1 + f16 2))", "add of type f16"),
	cut("program-types", "(X[i, j] * f32 2)", "f32(erf(c64 {(1, 2)}))", "erf of type c64"),
	cut("program-types", "(X[i, j] * f32 2)", `f32((str "a" + str "b"))`, "add of type str"),
	cut("program-types", "(X[i, j] * f32 2)", "select((c64 {(1, 2)} < c64 {(1, 2)}), X[i, j], f32 2)", "lt of type bool"),
	cut("program-types", "S[] = sum(i < m) X[i]", "S[] = sum(i < m) bool(X[i])", "sum is not defined for bool"),
	cut("program-types", "P[i < m] = scan sum(i) X[i]", "P[i < m] = scan and(i) X[i]", "and is not defined for f32"),
	edit("program-types", "lit", func(m *ir.Module) { double(m).Stages[0].Exprs[0].Args[1].Lit = nil }),
	edit("program-types", "operation 255", func(m *ir.Module) { double(m).Stages[0].Exprs[0].Op = 255 }),
	edit("program-types", "mul of type", func(m *ir.Module) { double(m).Stages[0].Exprs[0].Args = nil }),
	edit("program-types", "not i64", func(m *ir.Module) { stages(m).Stages[3].Index[0] = ir.Lit(tensor.I32, 0) }),

	cut("program-hints", "(X[i, j] * f32 2)", "(X[i, j] * f32 2) sparse(X)", "no sum"),
	cut("program-hints", "(X[i, j] * f32 2)", "(X[i, j] * f32 2) wanted(i < j)", "no sum"),
	cut("program-hints", "S[] = sum(i < m) X[i]", "S[] = sum(i < m) X[i] sparse(I)", "does not load from I"),
	cut("program-hints", "S[] = sum(i < m) X[i]", "S[] = sum(i < m) X[i] sparse(X finite, X)", "sparse twice"),
	cut("program-hints", "S[] = sum(i < m) X[i]", "S[] = sum(i < m) X[i] wanted(X[0])", "no truth value"),
	edit("program-hints", "all of it is wanted", func(m *ir.Module) { stages(m).Stages[0].Any = true }),
	cut("program-axes", "S[] = sum(i < m) X[i]", "S[] = sum(i < m) X[i] wanted(i < 2)", "not its stage's"),
	edit("complete", "a sparse buffer", func(m *ir.Module) { stages(m).Stages[0].Sparse = []ir.Sparse{{}} }),

	edit("program-monoid", "1 expressions, 1 results", func(m *ir.Module) { stages(m).Stages[0].Monoid = ir.ArgMax }),
	edit("program-monoid", "", func(m *ir.Module) { stages(m).Stages[0].Monoid = ir.Last }),
	edit("program-monoid", "", func(m *ir.Module) { stages(m).Stages[0].Monoid = ir.NoMonoid }),
	edit("program-monoid", "monoid 99", func(m *ir.Module) { stages(m).Stages[0].Monoid = 99 }),
	edit("program-monoid", "kind 9", func(m *ir.Module) { stages(m).Stages[0].Kind = 9 }),
	edit("program-monoid", "", func(m *ir.Module) { double(m).Stages[0].Monoid = ir.Sum }),
	edit("program-monoid", "0 expressions", func(m *ir.Module) { double(m).Stages[0].Exprs = nil }),
	edit("program-monoid", "0 results", func(m *ir.Module) { double(m).Stages[0].Outs = nil }),
	edit("program-monoid", "1 reduction axes", func(m *ir.Module) {
		double(m).Stages[0].Red = []*ir.Axis{{Name: "k", Extent: sym.Const(2)}}
	}),
	edit("program-monoid", "", func(m *ir.Module) { stages(m).Stages[1].ScanAxis = nil }),
	edit("program-monoid", "", func(m *ir.Module) { stages(m).Stages[3].Base = nil }),
	edit("program-monoid", "", func(m *ir.Module) { stages(m).Stages[0].Base = stages(m).Params[0] }),
	edit("program-monoid", "1 indices", func(m *ir.Module) { stages(m).Stages[2].Index = []*ir.Scalar{ir.IntLit(0)} }),
}

// broken gives the whole module with a breach.
func (b breach) broken(t *testing.T) *ir.Module {
	t.Helper()
	src := whole
	if b.old != "" {
		if strings.Count(src, b.old) == 0 {
			t.Fatalf("the module has no %q", b.old)
		}
		src = strings.Replace(src, b.old, b.new, 1)
	}
	m := parse(t, src)
	if b.edit != nil {
		b.edit(m)
	}
	return m
}

// Every rule is broken by at least one module that differs from a valid one in that
// alone.
func TestRules(t *testing.T) {
	if err := ir.Verify(parse(t, whole)); err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for i, b := range breaches {
		tried[b.rule] = true
		t.Run(fmt.Sprintf("%s/%d", b.rule, i), func(t *testing.T) {
			err := ir.Verify(b.broken(t))
			r := ir.Broken(err)
			if r == nil {
				t.Fatalf("got %v, want a broken rule (%s to %s)", err, b.old, b.new)
			}
			if r.Name != b.rule || !strings.Contains(err.Error(), b.says) {
				t.Errorf("got %v, want rule %s and %q", err, b.rule, b.says)
			}
			if diag.CodeOf(err) != diag.Verifier || !strings.Contains(err.Error(), "(rule "+b.rule+")") {
				t.Errorf("%v has code %d", err, diag.CodeOf(err))
			}
		})
	}
	for _, r := range ir.Rules {
		if !tried[r.Name] {
			t.Errorf("nothing here breaks the rule %s", r.Name)
		}
		if r.Doc == "" || strings.HasSuffix(r.Doc, ".") {
			t.Errorf("rule %s: a sentence without a full stop, not %q", r.Name, r.Doc)
		}
	}
}

// TestVerifierAgain breaks modules that were verified before.
func TestVerifierAgain(t *testing.T) {
	for i, b := range breaches {
		if b.edit == nil || b.old != "" {
			continue
		}
		var v ir.Verifier
		m := parse(t, whole)
		if err := v.Verify(m); err != nil {
			t.Fatal(err)
		}
		b.edit(m)
		if r := ir.Broken(v.Verify(m)); r == nil || r.Name != b.rule {
			t.Errorf("%s/%d: got %v", b.rule, i, r)
		}
	}
}

// What a region computes for a result is written while the region runs.
func TestStoragesOfRegions(t *testing.T) {
	const good = `module {
  func @main(%x: [n] f32, %c: [] bool, %k: [] i64) -> ([n] f32, [n] f32) {
    %s: storage = vm.alloc() {bytes = "4*n"}
    %u: storage = vm.alloc() {bytes = "4*n"}
    %v: storage = vm.alloc() {bytes = "4*n"}
    %w: storage = vm.alloc() {bytes = "4*n"}
    %a: [n] f32 = onnx.Relu(%x) in %s
    %i: [n] f32 = onnx.If(%c) { ()
      %p: [n] f32 = onnx.Neg(%a)
      %last: [n] f32 = onnx.Neg(%p)
      yield %last
    } { ()
      %q: [n] f32 = onnx.Abs(%x)
      yield %q
    } in %u
    %l: [n] f32 = onnx.Loop(%k, _, %i) { (%t: [] i64, %on: [] bool, %was: [n] f32)
      %r: [n] f32 = onnx.Neg(%was)
      yield %on, %r
    } in %v with %w
    %y: [n] f32 = onnx.Neg(%l)
    %z: [n] f32 = onnx.Neg(%x)
    return %y, %z
  }
}`
	if err := ir.Verify(parse(t, good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{"} in %u\n", "} in %s\n", "%a is read, but %i is placed where it lay"},
		{"in %v with %w", "in %v with %v", "two results are placed in %v"},
		{"in %v with %w", "in %u with %w", "what it computes is placed in %u, where its operand %i lies"},
		{"in %v with %w", "in %v with %u", "what it computes is placed in %u, where its operand %i lies"},
		{"in %v with %w", "in %v with %w, %u", "3 storages for 1 results and 1 temporaries"},
		{"yield %q", "yield %x", "result 0 can not be placed: it may be an operand"},
		{"yield %on, %r", "yield %on, %a", "result 0 can not be placed: it may be an operand"},
		{"onnx.Neg(%l)", "onnx.Neg(%i)", ""},
		{"in %v with %w\n    %y: [n] f32 = onnx.Neg(%l)", "in %v with %w\n    %m: [n] f32 = onnx.Neg(%x) in %w\n    %y: [n] f32 = onnx.Add(%l, %m)", ""},
		{"in %v with %w\n    %y: [n] f32 = onnx.Neg(%l)", "in %v with %w\n    %m: [n] f32 = onnx.Neg(%x) in %v\n    %y: [n] f32 = onnx.Add(%l, %m)", "%l is read, but %m is placed where it lay"},
	} {
		if !strings.Contains(good, c[0]) {
			t.Fatalf("%q is not in the module", c[0])
		}
		err := ir.Verify(parse(t, strings.Replace(good, c[0], c[1], 1)))
		if c[2] == "" && err != nil || c[2] != "" && (err == nil || !strings.Contains(err.Error(), c[2])) {
			t.Errorf("%s: got %v, want %q", c[1], err, c[2])
		}
	}
}
