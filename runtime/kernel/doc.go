// Package kernel has the kernel IR: small typed loop programs that say in which order, by
// which vectors and through which temporaries the points of tensor programs are computed.
// Printers make code of them for a processor; the evaluator here says what they mean.
//
//   - ir.go: kernels, values, loops; print.go: their text; verify.go, order.go: their rules
//   - build.go: makes values, and makes none twice
//   - approx.go, hyper.go, trig.go: functions as polynomials, with their errors
//   - schedule.go: which stages of a program become one kernel; why.go: which have none; broadcast.go: what
//     sizes decide of them before
//   - lower.go: their loops; node.go, index.go, reduce.go: their expressions as values;
//     softmax.go: what stages prove of each other; fetch.go: what a row fetches for later; turned.go: loops
//     inside of that of the vectors
//   - contract.go: sums of products in tiles; fragment.go: matrices that tensor cores multiply;
//     listed.go: sums that leave zeros out, by lists
//   - attention.go: finds attentions; online.go: their kernels over tiles, as tensor programs
//   - bind.go: a kernel for sizes: its arguments, its bounds, how it is cut
//   - eval.go, lanes.go: the evaluator
//
// A kernel is made once for a program, whatever its sizes: strides and extents are numbers
// that a call gives. What changes the loops themselves, which dims are broadcast, is decided
// before.
package kernel
