package runtime

// InUse is the memory of the pool that runs have; without runs it is 0.
func (x *Executable) InUse() int64 { return x.pool.used }

// Kept is the memory that the pool keeps for the next run, and the bound on it with what
// is in use.
func (x *Executable) Kept() (kept, bound int64) { return x.pool.idle, 2 * x.pool.peak }

// Instances is the number of operators that are ready for some operands.
func (x *Executable) Instances() int { return len(x.instances) }
