package runtime

// InUse is the memory of the pool that runs have; without runs it is 0.
func (x *Executable) InUse() int64 { return x.pool.used }

// Kept is the memory that the pool keeps for the next run, and the bound on it with what
// is in use.
func (x *Executable) Kept() (kept, bound int64) { return x.pool.idle, x.pool.most() }

// Held is the memory that the pool has, in use or kept, and Used the most that runs had at
// the same time.
func (x *Executable) Held() (held, used int64) {
	x.pool.mu.Lock()
	defer x.pool.mu.Unlock()
	return x.pool.used + x.pool.idle, x.pool.peak
}

// Layouts is how many sets of sizes storages of @main are placed for.
func (x *Executable) Layouts() (n int) {
	for _, g := range x.funcs[x.m.Main()].groups {
		n += len(g.kept)
	}
	return n
}

// Instances is the number of operators that are ready for some operands.
func (x *Executable) Instances() int { return len(x.instances) }
