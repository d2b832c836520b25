package sym

// Branch is a context for where a condition holds.
type Branch struct {
	*Context
	outer    *Context
	eqs, les int    // what was assumed when the condition was told
	local    string // a symbol that is only here
}

// Within is a branch in which a new symbol has values from 0 on, up to and without most; nil
// is no end. What is learned of it does not leave the branch.
func (c *Context) Within(symbol string, most *Expr) *Branch {
	b := c.Branch(func(c *Context) {
		c.Reserve(symbol)
		if most != nil {
			_ = c.AssumeLE(Var(symbol).Add(one), *most) // where that contradicts, nothing runs
		}
	})
	b.local = symbol
	return b
}

// Branch is a copy of c, for where more is known than elsewhere: assume tells the
// condition. What is assumed of the copy later holds wherever its symbols have values; End
// tells c of it, and of the symbols that the copy made.
func (c *Context) Branch(assume func(*Context)) *Branch {
	b := &Branch{Context: c.Clone(), outer: c}
	assume(b.Context)
	b.eqs, b.les = len(b.Context.eqs), len(b.Context.les)
	return b
}

// End tells the outer context what was learned. What contradicts there comes of the
// condition, and is left out.
func (b *Branch) End() {
	c := b.outer
	for name, fresh := range b.used {
		if _, known := c.used[name]; !known {
			set(&c.used, name, fresh)
		}
	}
	for prefix, n := range b.next {
		set(&c.next, prefix, max(n, c.next[prefix]))
	}
	leaves := func(e [2]Expr) bool { return b.local == "" || !e[0].Uses(b.local) && !e[1].Uses(b.local) }
	for _, e := range b.Context.eqs[b.eqs:] {
		if leaves(e) {
			_ = c.AssumeEqual(e[0], e[1])
		}
	}
	for _, e := range b.Context.les[b.les:] {
		if leaves(e) {
			_ = c.AssumeLE(e[0], e[1])
		}
	}
}
