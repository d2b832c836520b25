package sym

// Branch is a context for where a condition holds.
type Branch struct {
	*Context
	outer    *Context
	eqs, les int // what was assumed when the condition was told
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
	for _, e := range b.Context.eqs[b.eqs:] {
		_ = c.AssumeEqual(e[0], e[1])
	}
	for _, e := range b.Context.les[b.les:] {
		_ = c.AssumeLE(e[0], e[1])
	}
}
