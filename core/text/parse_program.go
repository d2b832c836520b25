package text

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// programParser reads one tensor program.
type programParser struct {
	*parser
	bufs    map[string]*ir.Buffer
	results map[*ir.Buffer]bool // declared as results
	written map[*ir.Buffer]bool
	axes    map[string]*ir.Axis // of the stage that is read
}

// program reads a program behind its keyword.
func (p *parser) program() *ir.Program {
	q := &programParser{parser: p, bufs: map[string]*ir.Buffer{}, results: map[*ir.Buffer]bool{}, written: map[*ir.Buffer]bool{}}
	p.expect("@")
	g := &ir.Program{Name: p.name()}
	if p.take("[") {
		p.list("]", func() { g.Syms = append(g.Syms, p.name()) })
	}
	g.Params = q.buffers()
	p.expect("->")
	g.Results = q.buffers()
	for _, b := range g.Results {
		q.results[b] = true
	}
	p.expect("{")
	for p.err == nil && !p.take("}") {
		g.Stages = append(g.Stages, q.stage())
	}
	return g
}

// buffers is a list (X: [m, n] f32, ...).
func (q *programParser) buffers() (out []*ir.Buffer) {
	q.expect("(")
	q.list(")", func() {
		at, name := q.here(), q.name()
		b := q.newBuffer(at, name)
		q.expect(":")
		q.expect("[")
		b.Dims, b.DType = q.exprs(), q.dtype()
		if q.take("in") {
			q.expect("[")
			b.Room = q.exprs()
		}
		out = append(out, b)
	})
	return out
}

func (q *programParser) newBuffer(at int, name string) *ir.Buffer {
	if q.err == nil && (name == "" || q.bufs[name] != nil) {
		q.failAt(at, "buffer name %q is empty or taken", name)
	}
	b := &ir.Buffer{Name: name}
	q.bufs[name] = b
	return b
}

// stage is: names[axes] types = what.
func (q *programParser) stage() *ir.Stage {
	s := &ir.Stage{}
	q.axes = map[string]*ir.Axis{}
	declared := true // all are results, whose types the program's head says
	at := q.here()
	var temps []*ir.Buffer // defined when the stage ends: it does not read what it writes
	q.commas(func() {
		at, name := q.here(), q.name()
		b := q.bufs[name]
		if b == nil {
			b = &ir.Buffer{Name: name}
			temps = append(temps, b)
			declared = false
		} else if !q.results[b] || q.written[b] {
			q.failAt(at, "%s is written twice, or a parameter", name)
		}
		q.written[b] = true
		s.Outs = append(s.Outs, b)
	})
	q.expect("[")
	q.list("]", func() { s.Axes = append(s.Axes, q.axis()) })
	if !declared {
		q.outTypes(s)
	}
	q.expect("=")
	q.kind(s)
	q.commas(func() { s.Exprs = append(s.Exprs, q.scalar(0)) })
	q.hints(s)
	for _, b := range temps {
		if q.err == nil && q.bufs[b.Name] != nil {
			q.failAt(at, "%s is written twice", b.Name)
		}
		q.bufs[b.Name] = b
	}
	return s
}

// outTypes reads the types of what a stage writes: the dims are the axes' extents
// where they are not written.
func (q *programParser) outTypes(s *ir.Stage) {
	for i, b := range s.Outs {
		if i > 0 {
			q.expect(",")
		}
		t := ir.TensorType{}
		for _, a := range s.Axes {
			t.Dims = append(t.Dims, a.Extent)
		}
		at := q.here()
		if q.take("[") {
			t.Dims = q.exprs()
		}
		t.DType = q.dtype()
		if !q.results[b] {
			b.DType, b.Dims = t.DType, t.Dims
		} else if q.err == nil && b.DType != t.DType {
			q.failAt(at, "%s is declared as %s", b.Name, b.Type())
		}
	}
}

// axis is: name < extent.
func (q *programParser) axis() *ir.Axis {
	at := q.here()
	a := &ir.Axis{Name: q.name()}
	q.expect("<")
	a.Extent = q.expr()
	if q.err == nil && q.axes[a.Name] != nil {
		q.failAt(at, "axis %s comes twice", a.Name)
	}
	q.axes[a.Name] = a
	return a
}

// kind reads what stands before a stage's expressions and is not part of them.
func (q *programParser) kind(s *ir.Stage) {
	start := q.here()
	switch {
	case q.word("scan") && q.monoid(s):
		s.Kind = ir.ScanStage
		at := q.here()
		if s.ScanAxis = q.axes[q.name()]; s.ScanAxis == nil {
			q.failAt(at, "the stage has no such axis")
		}
		for q.err == nil && q.take(",") {
			switch {
			case q.word("exclusive"):
				s.Exclusive = true
			case q.word("reverse"):
				s.Reverse = true
			default:
				q.fail("expected exclusive or reverse, found %s", q.found())
			}
		}
		q.expect(")")
		return
	case q.rewind(start) && q.word("scatter") && q.monoid(s):
		s.Kind = ir.ScatterStage
		at, name := q.here(), q.name()
		if s.Base = q.bufs[name]; s.Base == nil {
			q.failAt(at, "there is no buffer %s", name)
		}
		q.expect(",")
		q.expect("[")
		q.list("]", func() { s.Index = append(s.Index, q.scalar(0)) })
		q.expect(")")
		return
	case q.rewind(start) && q.monoid(s) && q.loopsFollow():
		s.Kind = ir.ReduceStage
		q.list(")", func() { s.Red = append(s.Red, q.axis()) })
		return
	}
	_ = q.rewind(start)
	s.Monoid = ir.NoMonoid
}

// hints reads what stands behind a stage's expressions: sparse(X finite, W) wanted((x < y) any). The next
// stage begins otherwise: a bracket or a comma stands behind its first name.
func (q *programParser) hints(s *ir.Stage) {
	if start := q.here(); q.word("sparse") && q.take("(") {
		q.list(")", func() {
			at, name := q.here(), q.name()
			h := ir.Sparse{Buffer: q.bufs[name]}
			if h.Buffer == nil {
				q.failAt(at, "there is no buffer %s", name)
			}
			h.Finite = q.word("finite")
			s.Sparse = append(s.Sparse, h)
		})
	} else {
		_ = q.rewind(start)
	}
	if start := q.here(); q.word("wanted") && q.take("(") {
		s.Wanted = q.scalar(1)
		s.Any = q.word("any")
		if !q.take(")") {
			s.Wanted = q.infix(s.Wanted, 0)
		}
	} else {
		_ = q.rewind(start)
	}
}

// rewind goes back to a place; it gives true unless reading has failed.
func (q *programParser) rewind(at int) bool {
	if q.err == nil {
		q.at = at
	}
	return q.err == nil
}

// monoid skips the name of a monoid and a parenthesis, if they come next.
func (q *programParser) monoid(s *ir.Stage) bool {
	id := q.ident()
	m, ok := ir.MonoidByName(id)
	if ok {
		q.at += len(id)
		s.Monoid = m
	}
	return ok && q.take("(")
}

// loopsFollow tells max(k < n) x, a reduction, from max(x, y), an operation on scalars:
// there a comparison is in parentheses of its own.
func (q *programParser) loopsFollow() bool {
	at := q.here()
	ok := q.peek() == ')'
	if !ok && (q.peek() == '"' || q.ident() != "") {
		_ = q.name()
		ok = q.take("<") && q.peek() != '='
	}
	return q.rewind(at) && ok
}

// infix are the operations written between their operands, a longer sign before one
// that it starts with.
var infix = []struct {
	sign string
	op   ir.ScalarOp
}{{"//", ir.OpFloorDiv}, {"==", ir.OpEq}, {"!=", ir.OpNe}, {"<=", ir.OpLe}, {">=", ir.OpGe}, {"+", ir.OpAdd}, {"-", ir.OpSub}, {"*", ir.OpMul},
	{"/", ir.OpDiv}, {"%", ir.OpMod}, {"<", ir.OpLt}, {">", ir.OpGt}, {"&", ir.OpAnd}, {"|", ir.OpOr}, {"^", ir.OpXor}}

// scalar reads a scalar expression. It is never nil: after an error it is a literal.
func (q *programParser) scalar(depth int) *ir.Scalar {
	if depth > maxScalarDepth {
		q.fail("expressions nested deeper than %d", maxScalarDepth)
	}
	c := q.peek()
	switch {
	case q.err != nil:
	case c == '(':
		return q.binary(depth)
	case c == '{':
		q.at++
		e := q.expr()
		q.expect("}")
		return &ir.Scalar{Op: ir.OpSym, DType: tensor.I64, Sym: e}
	case c == '-' || isDigit(c):
		return q.literal(tensor.I64)
	case c == '"' || isLetter(c):
		return q.named(depth)
	default:
		q.fail("expected an expression, found %s", q.found())
	}
	return ir.IntLit(0)
}

func (q *programParser) binary(depth int) *ir.Scalar {
	q.expect("(")
	return q.infix(q.scalar(depth+1), depth)
}

// infix reads an operation behind its first operand.
func (q *programParser) infix(x *ir.Scalar, depth int) *ir.Scalar {
	for _, f := range infix {
		if q.take(f.sign) {
			y := q.scalar(depth + 1)
			q.expect(")")
			return ir.Binary(f.op, x, y)
		}
	}
	q.fail("expected an operator, found %s", q.found())
	return x
}

// named reads what starts with a name: a load, an operation, a literal with its type,
// or an axis.
func (q *programParser) named(depth int) *ir.Scalar {
	at, quoted := q.at, q.peek() == '"'
	name := q.name()
	d, isType := tensor.ParseDType(name)
	isType = isType && !quoted
	switch next := q.peek(); {
	case next == '[':
		b := q.bufs[name]
		if b == nil {
			q.failAt(at, "there is no buffer %s", name)
			return ir.IntLit(0)
		}
		return ir.Load(b, q.operands("[", "]", depth)...)
	case next == '(' && isType:
		return q.cast(d, depth)
	case next == '{' && isType:
		q.at++
		x := q.literal(d)
		q.expect("}")
		return x
	case next == '(' && !quoted:
		return q.operation(at, name, depth)
	case isType:
		return q.literal(d)
	}
	a := q.axes[name]
	if a == nil {
		q.failAt(at, "the stage has no axis %s", name)
		return ir.IntLit(0)
	}
	return a.Ix()
}

func (q *programParser) literal(d tensor.DType) *ir.Scalar {
	at := q.here()
	t := tensor.New(d)
	text := q.element(d)
	if q.err == nil {
		if err := t.SetText(0, text); err != nil {
			q.failAt(at, "%v", err)
		}
	}
	return &ir.Scalar{Op: ir.OpLit, DType: d, Lit: t}
}

func (q *programParser) operands(open, end string, depth int) (out []*ir.Scalar) {
	q.expect(open)
	q.list(end, func() { out = append(out, q.scalar(depth+1)) })
	return out
}

// cast is a type and, in parentheses, the operand and the options that are not the
// default.
func (q *programParser) cast(d tensor.DType, depth int) *ir.Scalar {
	q.expect("(")
	x := &ir.Scalar{Op: ir.OpCast, DType: d, Args: []*ir.Scalar{q.scalar(depth + 1)}}
	for q.err == nil && q.take(",") {
		switch {
		case q.word("wrap"):
			x.Cast.NoSaturate = true
		case q.word("down"):
			x.Cast.RoundMode = "down"
		case q.word("nearest"):
			x.Cast.RoundMode = "nearest"
		default:
			q.fail("expected wrap, down or nearest, found %s", q.found())
		}
	}
	q.expect(")")
	return x
}

func (q *programParser) operation(at int, name string, depth int) *ir.Scalar {
	op, ok := ir.ScalarOpByName(name)
	if !ok || op.Arity() < 1 || op == ir.OpCast {
		q.failAt(at, "there is no operation %s", name)
		return ir.IntLit(0)
	}
	args := q.operands("(", ")", depth)
	if q.err == nil && len(args) != op.Arity() {
		q.failAt(at, "%s takes %d operands", name, op.Arity())
	}
	switch {
	case q.err != nil:
		return ir.IntLit(0)
	case op == ir.OpBcast:
		return &ir.Scalar{Op: op, DType: tensor.I64, Args: args}
	case op == ir.OpGuard:
		return ir.Guard(args[0], args[1], args[2])
	case op == ir.OpSelect:
		return ir.Select(args[0], args[1], args[2])
	case len(args) == 1:
		return ir.Unary(op, args[0])
	}
	return ir.Binary(op, args[0], args[1])
}
