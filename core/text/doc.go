// Package text is the textual form of modules, for people and for golden tests. It
// round-trips exactly: what Parse reads from the output of Print is an equal module
// (constants forget in which file they lie) that prints the same.
//
//	module "name" {
//	  dims batch in [1, 64], seq in [1, 512] multiple 8
//	  where n <= batch*seq, heads*64 == 768
//	  meta producer = "trainer", opset "" = 21
//
//	  const @w: [2, 2] f32 = {1, 2, 3, 4}
//
//	  func @main(%x: [batch, 2] f32) -> ("probabilities": [batch, 2] f32) {
//	    %y: [batch, 2] f32 = onnx.MatMul(%x, @w) @ "node of the model"
//	    %p: [batch, 2] f32 = onnx.Softmax(%y) {axis = 1}
//	    return %p
//	  }
//	}
//
// A statement is its results with their types, what it applies, operands, and then,
// where there are any: attributes, regions, "in" the storages it is placed in, and
// "@" the node of the model. What it applies is an operator; "unknown", a version and
// the name of an operator that is not there; "call" and a callee, with the values of
// the callee's symbols in brackets; or match_cast. An operand or result that is left
// out is _. A value without a name is printed with a number. A region is
//
//	{ (%i: [] i64, %keep: [] bool)
//	  ...
//	  yield %keep
//	}
//
// Attributes are integers (1), floats (1.0, 0.1f for the f32 nearest to 0.1), strings,
// lists of these ([1, 2]; an empty one says of what: ints[]), tensors (f32[2] {1, 2})
// and types (type [n] f32). Names that are no identifiers are quoted. A # starts a
// comment that runs to the end of the line.
//
// Kernels name their program (kernel @cpu.gemm = @gemm {tile = 4}); programs look as
// ir.Program.String prints them.
package text
