// Package emu is a CUDA driver without a device: it interprets PTX on the host. It is there to
// find what is wrong with a kernel, not to be fast.
//
// A module is parsed (lex.go, parse.go), and each instruction is decoded once to a Go function
// that works on the 32 lanes of a warp (decode.go and op_*.go). Registers are 64 bits a lane,
// those of less hold zeros above; immediates and special registers are registers that nobody
// writes. A predicate is a word with a bit for each lane.
//
// A warp is a list of groups of lanes, each with its place in the code (warp.go). The group that
// is first in the weak topological order of the control flow runs (order.go), and meets the others
// where their ways join, as with the reconvergence of hardware. An instruction that needs
// lanes that are elsewhere makes its group wait for them.
//
// What is checked, always: every access lies in an allocation that lives, and is aligned; no
// register and no byte of shared or local memory is read that was not written; shared memory
// that an asynchronous copy still writes is not touched; .aligned instructions and barriers find all their
// lanes; barriers find all their warps; a launch fits the device; a kernel ends within a budget of
// instructions. With Options.Races, too: no two threads touch a byte of shared or global
// memory, one of them writing, without a barrier between them (race.go).
//
// It proves nothing of the memory model below that, of ptxas' code, or of speed.
//
// # Arithmetic
//
// add, sub, mul, fma, div, rcp, sqrt with .rn, .rz, .rm or .rp, and all conversions, round as PTX says. A
// NaN that is made is the canonical one (0x7fffffff in f32). The approximations (div.approx,
// div.full, rcp.approx, sqrt.approx, rsqrt.approx, ex2, lg2, sin, cos, tanh) are computed in
// f64 and rounded once: hardware may differ from that by the error that PTX states. mma adds the products of
// one instruction and the accumulator in f64, and rounds once; hardware keeps fewer bits of the sum.
package emu
