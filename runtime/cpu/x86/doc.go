// Package x86 makes machine code for x86-64 and runs it.
//
// A [Prog] is a list of instructions over registers, which may be virtual. [Allocate] gives
// virtual registers real ones, [Assemble] encodes what is left, an [Arena] maps the code
// as memory that can be executed, and [Func.Call] calls it. What machine code may do and must
// not do is written in docs/abi.md.
//
// Everything that is known of an instruction stands in one table (table_*.go): its name,
// its operands, its encoding, the processors that have it. The encoder, the printer of
// listings, the register allocator and the tests read that table.
//
// [Tile] makes the micro-kernels of contractions.
//
// Two levels of processors get code, by the names of the psABI: x86-64-v4 (AVX-512: F, BW,
// CD, DQ, VL) and x86-64-v3 (AVX2, FMA, F16C, BMI). Encoding works everywhere; running needs
// amd64.
package x86
