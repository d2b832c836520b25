package emu

// Counters says what launches did.
type Counters struct {
	Launches           int64
	Blocks             int64
	Instructions       int64 // of warps
	ThreadInstructions int64 // of threads: those whose guard holds
	DivergentBranches  int64
	Barriers           int64 // arrivals of warps

	GlobalLoads, GlobalStores         int64 // instructions of warps
	GlobalLoadBytes, GlobalStoreBytes int64 // of threads
	GlobalSectors                     int64 // of 32 bytes, for loads and stores
	SharedLoads, SharedStores         int64
	SharedBytes                       int64
	BankConflicts                     int64 // further passes that accesses to shared memory take
	Atomics                           int64
	MMA                               int64
	AsyncCopies                       int64 // of threads
}

func (c *Counters) add(o *Counters) {
	c.Launches += o.Launches
	c.Blocks += o.Blocks
	c.Instructions += o.Instructions
	c.ThreadInstructions += o.ThreadInstructions
	c.DivergentBranches += o.DivergentBranches
	c.Barriers += o.Barriers
	c.GlobalLoads += o.GlobalLoads
	c.GlobalStores += o.GlobalStores
	c.GlobalLoadBytes += o.GlobalLoadBytes
	c.GlobalStoreBytes += o.GlobalStoreBytes
	c.GlobalSectors += o.GlobalSectors
	c.SharedLoads += o.SharedLoads
	c.SharedStores += o.SharedStores
	c.SharedBytes += o.SharedBytes
	c.BankConflicts += o.BankConflicts
	c.Atomics += o.Atomics
	c.MMA += o.MMA
	c.AsyncCopies += o.AsyncCopies
}
