package sym

// Defined says whether e is proved to have a value, whatever values its symbols have: no
// quotient or remainder is by what may be 0. That numbers may be too large does not count.
func (c *Context) Defined(e Expr) bool {
	ok := e.Err() == nil
	e.eachAtom(func(a *atom) bool {
		if a.kind == floorDivAtom || a.kind == modAtom {
			lo, hi := c.Bounds(a.args[1])
			ok = ok && (lo > 0 || hi < 0)
		}
		return ok
	})
	return ok
}
