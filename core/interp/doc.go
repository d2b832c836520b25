// Package interp is the reference interpreter: it runs modules at every level, plainly,
// and what it computes is right by definition.
//
// A tensor program runs stage by stage. When it is called every symbol is a number, so
// a stage is compiled to closures for exactly its sizes. A closure computes one node of
// an expression for a block of points at once: up to 256 neighbours along one axis of
// the stage, the lane axis. That is the vectorised interpretation of MonetDB/X100
// (Boncz, Zukowski, Nes, CIDR 2005): the cost of a call is shared by the block and what
// remains are tight loops over slices.
//
//   - run.go, control.go, memory.go: functions and statements; If and Loop; the budget
//   - program.go: a run of a program and its buffers
//   - stage.go, reduce.go, scan.go, scatter.go: the four stages, and which axis the lanes run along
//   - compile.go: nodes to closures; what is shared, guarded, or the same for all lanes
//   - class.go: what elements of one Go type can do; arith.go, logic.go, cast.go, mathfn.go do it
//   - index.go: index expressions as sums of multiples of axes, with ranges
//   - load.go, cells.go: reading and writing buffers
//
// Numerics: every node rounds to its type; a transcendental function of f32 is the one of
// f64, rounded. A reduction accumulates in its own type, in index order.
package interp
