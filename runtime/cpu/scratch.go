package cpu

import "github.com/pitopt/pitopt/core/tensor"

// scratch is where memory comes from that machine code gets beside tensors: tests put guards behind it. What a call
// needs stands at its end.
var scratch = struct {
	make  func(bytes int64) []byte
	round func(bytes int64) int64
}{
	make:  func(n int64) []byte { return tensor.New(tensor.U8, n).Bytes() }, // aligned
	round: func(n int64) int64 { return (n + 63) &^ 63 },
}
