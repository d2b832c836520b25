package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// A mixture of experts is spelled expert by expert: a mask says which rows go to one, they
// are gathered, go through the expert, and what comes out is put or added where they came
// from. All of the experts do the same with other weights, so that one does for all of them:
//
//	rows, each with its expert:  positions in the experts' masks, one behind the other
//	a product with a weight:     the product of each row with the weight of its expert
//	another operand, by expert:  that of each row's expert
//
// Rows come in the order in which the experts had them, so sums and what is put last are
// the same. Nothing is asked of where masks come from, or of what experts compute, but that
// each row is computed from itself.
func mergeExperts(m *ir.Module) error {
	x := &expertMerger{continued: map[*ir.Value]bool{}, users: map[*ir.Value]*ir.Stmt{}, names: map[*ir.Value]string{}, ranges: map[*ir.Value]analysis.Range{}}
	x.terms = newTerms(m, points{}, x.subst.Value)
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			s.EachUse(func(v *ir.Value) { x.users[v] = s })
			if c := combineOf(s); c != nil && x.uses[c.onto] == 1 {
				x.continued[c.onto] = true
			}
		})
	}
	x.replace = x.stmt
	if err := x.module(m); err != nil {
		return err
	}
	if x.changed {
		removeDead(m)
		x.rename(m)
	}
	return nil
}

// rename gives what was merged the names of the first expert's values, which are free now.
func (x *expertMerger) rename(m *ir.Module) {
	for _, f := range m.Funcs {
		taken := map[string]bool{}
		var made []*ir.Value
		for _, p := range f.Params {
			taken[p.Name] = true
		}
		f.Walk(func(s *ir.Stmt) {
			for _, r := range s.Regions {
				for _, p := range r.Params {
					taken[p.Name] = true
				}
			}
			for _, v := range s.Results {
				if v != nil {
					taken[v.Name] = true
					made = append(made, v)
				}
			}
		})
		for _, v := range made {
			if name := x.names[v]; v.Name == "" && !taken[name] {
				v.Name, taken[name] = name, true
			}
		}
	}
}

type expertMerger struct {
	rewriter
	terms
	names     map[*ir.Value]string         // of the first expert's values
	continued map[*ir.Value]bool           // what another expert's rows are put onto
	users     map[*ir.Value]*ir.Stmt       // one that reads a value
	ranges    map[*ir.Value]analysis.Range // of constants
	before    *merge                       // the last one of rows that are put behind one another
	changed   bool
}

// combine is a statement that puts rows onto a value.
type combine struct {
	onto, at, rows *ir.Value
	reduction      string
	once           bool // it is only what it says if no row is there twice
}

// combineOf reads a statement as one, or gives nil. Adding what was put onto zeros is adding
// the rows, if none is there twice.
func combineOf(s *ir.Stmt) *combine {
	if s.Kind != ir.OpStmt {
		return nil
	}
	switch s.Op.Name {
	case "onnx.ScatterND":
		at := unsqueezed(s.Args[1])
		if at == nil {
			return nil
		}
		c := &combine{onto: s.Args[0], at: at, rows: s.Args[2], reduction: "none"}
		if r, ok := s.Attrs.Get("reduction").(string); ok {
			c.reduction = r
		}
		return c
	case "onnx.Add":
		for i, v := range s.Args {
			if v.Def == nil {
				continue
			}
			if c := combineOf(v.Def); c != nil && v.Def.Op.Name == "onnx.ScatterND" && c.reduction == "none" && isZeros(c.onto) && sameDims(v, s.Args[1-i]) {
				return &combine{s.Args[1-i], c.at, c.rows, "add", true}
			}
		}
	}
	return nil
}

// unsqueezed is the list that a column of indices was; nil where it is something else.
func unsqueezed(v *ir.Value) *ir.Value {
	if v.Def == nil || v.Def.Kind != ir.OpStmt || v.Def.Op.Name != "onnx.Unsqueeze" {
		return nil
	}
	t, ok := v.Tensor()
	list := v.Def.Args[0]
	u, ok2 := list.Tensor()
	if !ok || !ok2 || t.Unranked || u.Unranked || len(u.Dims) != 1 || !t.Dims[1].IsInt(1) {
		return nil
	}
	if t.Dims[0].IsInt(1) && !u.Dims[0].IsInt(1) {
		return nil
	}
	return list
}

func sameDims(a, b *ir.Value) bool {
	x, ok := a.Tensor()
	y, ok2 := b.Tensor()
	return ok && ok2 && !x.Unranked && !y.Unranked && slices.EqualFunc(x.Dims, y.Dims, sym.Expr.Equal)
}

// isZeros says whether a value is known to be all zeros.
func isZeros(v *ir.Value) bool {
	if v.Const != nil {
		return allZero(v.Const.Tensor)
	}
	if v.Def == nil || v.Def.Kind != ir.OpStmt {
		return false
	}
	switch v.Def.Op.Name {
	case "onnx.Expand":
		return isZeros(v.Def.Args[0])
	case "onnx.ConstantOfShape":
		t, ok := v.Def.Attrs.Get("value").(*tensor.Tensor)
		return !ok || allZero(t)
	}
	return false
}

func allZero(t *tensor.Tensor) bool {
	for i := range t.Len() {
		if !t.DType().IsFloat() && !t.DType().IsInt() || t.Float(i) != 0 {
			return false
		}
	}
	return true
}

func (x *expertMerger) stmt(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool, error) {
	if s.Kind != ir.OpStmt {
		return nil, false, nil
	}
	mark, consts := b.Mark(), len(x.M.Consts)
	var v *ir.Value
	switch s.Op {
	case op.Loop:
		v = x.loop(b, s)
	case op.Concat:
		v = x.joined(b, s)
	default:
		if v = x.chain(b, s); v == nil {
			b.Reset(mark)
			x.M.Consts = x.M.Consts[:consts]
			if v = x.dense(b, s); v == nil {
				b.Reset(mark)
				x.M.Consts = x.M.Consts[:consts]
				v = x.batched(b, s)
			}
		}
	}
	if v == nil || b.Err() != nil || !x.Proves(v.Type, s.Results[0].Type) {
		b.Reset(mark)
		x.M.Consts = x.M.Consts[:consts] // weights that were put together for nothing
		return nil, false, nil
	}
	x.changed = true
	return []*ir.Value{v}, true, nil
}

// chain makes one of experts whose rows are put onto one another, of which s is the last.
func (x *expertMerger) chain(b *ir.Builder, s *ir.Stmt) *ir.Value {
	c := combineOf(s)
	if c == nil || x.continued[s.Results[0]] {
		return nil
	}
	var rows, at []*ir.Value
	var once bool
	onto := c.onto
	for p := c; p != nil && p.reduction == c.reduction; {
		rows, at, once, onto = append(rows, p.rows), append(at, p.at), once || p.once, p.onto
		if !x.continued[onto] || onto.Def == nil {
			break
		}
		p = combineOf(onto.Def)
	}
	if len(rows) < 2 {
		return nil
	}
	slices.Reverse(rows)
	slices.Reverse(at)
	return x.merge(b, len(rows)).combined(onto, at, rows, c.reduction, once)
}

func (x *expertMerger) merge(b *ir.Builder, n int) *merge {
	return &merge{expertMerger: x, b: b, n: n, made: map[*ir.Value]*merged{}, done: map[*ir.Stmt][]*ir.Value{}, coords: map[int64]*ir.Value{}}
}

// merge makes one of what n experts do.
type merge struct {
	*expertMerger
	b      *ir.Builder
	n      int
	made   map[*ir.Value]*merged    // by what it is of the first expert
	done   map[*ir.Stmt][]*ir.Value // results of statements, by those of the first expert
	coords map[int64]*ir.Value      // rows of the positions

	lists  []*ir.Value // the experts' positions: results of NonZero; nil: lists that are put together
	sizes  []string    // how many there are
	all    *ir.Value   // the positions of all, with the expert in front: [1+rank, rows]
	tail   *ir.Value   // without the expert
	expert *ir.Value   // [rows]
	rows   sym.Expr
	groups int       // products by expert
	block  *ir.Block // where it stands, of rows that are put behind one another
}

// merged is what takes the place of one value for each expert.
type merged struct {
	of   []*ir.Value
	kind mergedKind
	v    *ir.Value
}

type mergedKind uint8

const (
	sharedValue mergedKind = iota // one for all, which no mask goes into
	stacked                       // that of each expert, one behind the other in a new first dim
	byRow                         // rows of all experts, in the place of those of one
)

// joined makes one of experts whose rows are put behind one another. Which rows they take is
// said by lists, which are put together, too.
func (x *expertMerger) joined(b *ir.Builder, s *ir.Stmt) *ir.Value {
	t, ok := s.Results[0].Tensor()
	if axis, _ := s.Attrs.Get("axis").(int64); !ok || t.Unranked || len(s.Args) < 2 || axis != 0 {
		return nil
	}
	m := x.merge(b, len(s.Args))
	m.rows = t.Dims[0]
	for _, v := range s.Args {
		part, ok := v.Tensor()
		if !ok || part.Unranked || v.Def == nil {
			return nil
		}
		name, bare := part.Dims[0].Symbol()
		if !bare || slices.Contains(m.sizes, name) {
			return nil
		}
		m.sizes = append(m.sizes, name)
	}
	here := x.path[len(x.path)-1]
	if was := x.before; was != nil && was.block == here && slices.Equal(was.sizes, m.sizes) { // the next product of the same rows
		m.expert = was.expert
		for list, got := range was.made {
			if m.isList(got.of) {
				m.made[list] = got
			}
		}
	} else {
		parts := make([]*ir.Value, m.n)
		for i, name := range m.sizes {
			parts[i] = b.Op("onnx.Expand", []*ir.Value{b.Const(tensor.Scalar(int64(i))), b.Dims(sym.Var(name))})
		}
		m.expert = b.Op("onnx.Concat", parts, "axis", 0)
	}
	y := m.of(s.Args)
	if y == nil || y.kind != byRow || m.groups == 0 {
		return nil
	}
	m.block, x.before = here, m
	return y.v
}

func (m *merge) combined(onto *ir.Value, at, rows []*ir.Value, reduction string, once bool) *ir.Value {
	if !m.findLists(at) {
		return nil
	}
	return m.put(onto, at, rows, reduction, once)
}

// put puts what the experts make of rows where these came from.
func (m *merge) put(onto *ir.Value, at, rows []*ir.Value, reduction string, once bool) *ir.Value {
	y, to := m.of(rows), m.of(at)
	if y == nil || to == nil || y.kind != byRow || to.kind != byRow || once && !m.distinct(at) {
		return nil
	}
	index := m.b.Op("onnx.Unsqueeze", []*ir.Value{to.v, m.b.Ints(-1)})
	return m.b.Op("onnx.ScatterND", []*ir.Value{onto, index, y.v}, "reduction", reduction)
}

// findLists finds the NonZero of each expert that its rows come from, and makes one of all.
func (m *merge) findLists(at []*ir.Value) bool {
	lists := make([]*ir.Value, m.n)
	for i, v := range at {
		c, ok := m.elements().coordinate(v)
		if !ok {
			return false
		}
		lists[i] = c.of
	}
	masks := make([]*ir.Value, m.n)
	for i, l := range lists {
		t, ok := l.Tensor()
		name, bare := "", false
		if ok && !t.Unranked {
			name, bare = t.Dims[1].Symbol()
		}
		if !bare || slices.Contains(m.sizes, name) || !sameDims(l.Def.Args[0], lists[0].Def.Args[0]) {
			return false
		}
		m.sizes = append(m.sizes, name)
		masks[i] = l.Def.Args[0]
	}
	t, _ := masks[0].Tensor()
	mask := m.stack(masks)
	if mask == nil || t.Rank() == 0 {
		return false
	}
	m.lists = lists
	m.all = m.b.Op("onnx.NonZero", []*ir.Value{mask})
	to, ok := m.all.Tensor()
	if !ok || to.Unranked {
		return false
	}
	m.rows = to.Dims[1]
	m.expert = m.row(0)
	return true
}

// row is a row of the positions: the expert, then a coordinate in its mask.
func (m *merge) row(i int64) *ir.Value {
	if m.coords[i] == nil {
		m.coords[i] = m.b.Op("onnx.Gather", []*ir.Value{m.all, m.b.Const(tensor.Scalar(i))})
	}
	return m.coords[i]
}

// of makes one of the values of all experts, nil where that does not go.
func (m *merge) of(list []*ir.Value) *merged {
	if got := m.made[list[0]]; got != nil {
		if slices.Equal(got.of, list) {
			return got
		}
		return nil
	}
	got := m.make(list)
	if got == nil {
		return nil
	}
	got.of = slices.Clone(list)
	m.made[list[0]] = got
	if got.kind != sharedValue && got.v.Name == "" && got.v.Def != nil {
		m.names[got.v] = list[0].Name
	}
	return got
}

func (m *merge) make(list []*ir.Value) *merged {
	same := true
	for _, v := range list[1:] {
		same = same && (v == list[0] || v != nil && list[0] != nil && sameValue(v, list[0]))
	}
	switch {
	case same && m.ofRows(list[0]):
		return nil // rows of one expert, which are not those of the others
	case same:
		return &merged{kind: sharedValue, v: list[0]}
	case slices.Contains(list, nil):
		return nil
	case m.lists == nil && m.isList(list):
		return &merged{kind: byRow, v: m.b.Op("onnx.Concat", list, "axis", 0)}
	case m.lists != nil && slices.Equal(list, m.lists):
		if m.tail == nil {
			t, _ := list[0].Tensor()
			n, _ := t.Dims[0].Int()
			m.tail = m.b.Op("onnx.Slice", []*ir.Value{m.all, m.b.Ints(1), m.b.Ints(n + 1), m.b.Ints(0)})
		}
		return &merged{kind: byRow, v: m.tail}
	}
	if m.lists != nil {
		if i, ok := m.coordinates(list); ok {
			return &merged{kind: byRow, v: m.row(i + 1)}
		}
	}
	if !m.inRows(list) {
		if v := m.stack(list); v != nil {
			return &merged{kind: stacked, v: v}
		}
		return nil
	}
	return m.computed(list)
}

// ofRows says whether a value has as many of something as an expert has rows.
func (m *merge) ofRows(v *ir.Value) bool {
	if v == nil {
		return false
	}
	t, _ := v.Tensor()
	known, _ := m.Known(v)
	return slices.ContainsFunc(slices.Concat(t.Dims, known), func(e sym.Expr) bool {
		name, bare := e.Symbol()
		return bare && slices.Contains(m.sizes, name)
	})
}

// isList says whether a value of each expert lists its rows: a range, or positions.
func (m *merge) isList(list []*ir.Value) bool {
	for i, v := range list {
		if v == nil {
			return false
		}
		t, ok := v.Tensor()
		if !ok || t.Unranked || len(t.Dims) != 1 || v.Def == nil {
			return false
		}
		if name, _ := t.Dims[0].Symbol(); name != m.sizes[i] {
			return false
		}
		if _, ok := m.elements().coordinate(v); !ok && v.Def.Op != op.Range {
			return false
		}
	}
	return true
}

// inRows says whether a value of each expert has rows.
func (m *merge) inRows(list []*ir.Value) bool {
	for i, v := range list {
		t, ok := v.Tensor()
		if !ok || t.Unranked || v.Def == nil {
			return false
		}
		if at, ok := analysis.RowDim(t.Dims, m.sizes[i]); !ok || at < 0 {
			return false
		}
	}
	return true
}

// computed merges results of the same operator.
func (m *merge) computed(list []*ir.Value) *merged {
	first := list[0].Def
	if first.Kind != ir.OpStmt || len(first.Regions) > 0 || first.Effect() != ir.Pure {
		return nil
	}
	for _, v := range list {
		s := v.Def
		if s.Op != first.Op || v.Index != list[0].Index || len(s.Args) != len(first.Args) || len(s.Results) != len(first.Results) ||
			!slices.EqualFunc(s.Attrs, first.Attrs, func(a, b ir.Attr) bool { return a.Name == b.Name && ir.SameAttr(a.Value, b.Value) }) {
			return nil
		}
	}
	args := make([]*merged, len(first.Args))
	for i := range args {
		if first.Op.View && i > 0 { // a view's shape is that of its result
			continue
		}
		of := make([]*ir.Value, m.n)
		for e, v := range list {
			of[e] = v.Def.Args[i]
		}
		if args[i] = m.of(of); args[i] == nil {
			return nil
		}
	}
	t, _ := list[0].Tensor()
	if first.Op.View {
		return m.view(args[0], first, t)
	}
	if !m.byRows(first) {
		return nil
	}
	values := make([]*ir.Value, len(args))
	for i, a := range args {
		if values[i] = a.v; a.kind == stacked {
			return m.withStacked(first, args, t)
		}
	}
	out := m.done[first]
	if out == nil {
		m.b.Node(first.Node)
		out = m.b.OpN(len(first.Results), first.Op.Name, values, first.Attrs)
		m.done[first] = out
	}
	if m.b.Err() != nil {
		return nil
	}
	return &merged{kind: byRow, v: out[list[0].Index]}
}

// coordinates says which coordinate of its rows the value of each expert is.
func (m *merge) coordinates(list []*ir.Value) (int64, bool) {
	at := int64(-1)
	for i, v := range list {
		c, ok := m.elements().coordinate(v)
		if !ok || c.of != m.lists[i] || i > 0 && c.i != at {
			return 0, false
		}
		at = c.i
	}
	return at, true
}

// byRows says whether a statement of the first expert computes each row from itself.
func (m *merge) byRows(s *ir.Stmt) bool {
	p, _, err := m.Call(s).Program()
	return err == nil && analysis.ByRows(p, m.sizes[0])
}

// inAll are dims of the first expert with the rows of all.
func (m *merge) inAll(dims []sym.Expr) []sym.Expr {
	out := make([]sym.Expr, len(dims))
	for i, d := range dims {
		out[i] = d.Subst(func(s string) (sym.Expr, bool) { return m.rows, s == m.sizes[0] })
	}
	return out
}

// view gives rows another shape, if that keeps them apart.
func (m *merge) view(x *merged, s *ir.Stmt, t ir.TensorType) *merged {
	in, ok := s.Args[0].Tensor()
	if !ok || in.Unranked || x.kind != byRow {
		return nil
	}
	i, ok := analysis.RowDim(in.Dims, m.sizes[0])
	j, ok2 := analysis.RowDim(t.Dims, m.sizes[0])
	if !ok || !ok2 || i < 0 || j < 0 || m.M.Syms.Equal(sym.Prod(in.Dims[:i]...), sym.Prod(t.Dims[:j]...)) != sym.True ||
		m.M.Syms.Equal(sym.Prod(in.Dims[i+1:]...), sym.Prod(t.Dims[j+1:]...)) != sym.True {
		return nil
	}
	m.b.Node(s.Node)
	args := append([]*ir.Value{x.v}, s.Args[1:]...)
	if slices.ContainsFunc(args[1:], func(v *ir.Value) bool { return v != nil && v.Const == nil }) {
		return &merged{kind: byRow, v: m.b.Op("onnx.Reshape", []*ir.Value{x.v, m.b.Dims(m.inAll(t.Dims)...)}, "allowzero", int64(1))}
	}
	return &merged{kind: byRow, v: m.b.OpN(1, s.Op.Name, args, s.Attrs)[0]}
}

// withStacked applies an operator of which an operand is each expert's own: products by
// weights, and what is applied element by element.
func (m *merge) withStacked(s *ir.Stmt, args []*merged, t ir.TensorType) *merged {
	c := m.Call(s)
	if at, ok := analysis.RowDim(t.Dims, m.sizes[0]); !ok || at != 0 || len(t.Dims) != 2 {
		return nil
	}
	m.b.Node(s.Node)
	var y *ir.Value
	switch {
	case s.Op.Name == "onnx.MatMul" && args[1].kind == stacked:
		if c.Rank(0) != 2 || c.Rank(1) != 2 || args[0].kind != byRow {
			return nil
		}
		m.groups++
		y = m.b.Op("pit.GroupedMatMul", []*ir.Value{args[0].v, args[1].v, m.expert})
	case s.Op.Name == "onnx.Gemm" && args[1].kind == stacked:
		if c.Flag("transA") || args[0].kind != byRow {
			return nil
		}
		m.groups++
		y = m.b.Op("pit.GroupedMatMul", []*ir.Value{args[0].v, args[1].v, m.expert}, "transB", c.Int("transB"))
		y = m.scaled(y, c.Float("alpha"), t.DType)
		if c.Has(2) {
			bias := m.each(args[2], s.Args[2])
			if bias == nil {
				return nil
			}
			y = m.b.Op("onnx.Add", []*ir.Value{y, m.scaled(bias, c.Float("beta"), t.DType)})
		}
	default:
		if m.points.of(s).expr == nil {
			return nil
		}
		values := make([]*ir.Value, len(args))
		for i, a := range args {
			if values[i] = m.each(a, s.Args[i]); values[i] == nil {
				return nil
			}
		}
		y = m.b.OpN(1, s.Op.Name, values, s.Attrs)[0]
	}
	if m.b.Err() != nil {
		return nil
	}
	return &merged{kind: byRow, v: y}
}

func (m *merge) scaled(v *ir.Value, c float64, d tensor.DType) *ir.Value {
	if c == 1 {
		return v
	}
	k := tensor.New(d)
	k.SetFloat(0, c)
	return m.b.Op("onnx.Mul", []*ir.Value{v, m.b.Const(k)})
}

// each is an operand of what is applied to matrices of rows, element by element: of what is
// an expert's own, that of each row's. Of the first expert it is v.
func (m *merge) each(a *merged, v *ir.Value) *ir.Value {
	if a.kind != stacked {
		return a.v
	}
	t, _ := v.Tensor()
	if len(t.Dims) > 2 || len(t.Dims) == 2 && !t.Dims[0].IsInt(1) {
		return nil
	}
	w := a.v // [experts, ...]
	if len(t.Dims) != 1 {
		last := sym.Const(1)
		if len(t.Dims) == 2 {
			last = t.Dims[1]
		}
		w = m.inShape(w, []sym.Expr{sym.Const(int64(m.n)), last})
	}
	return m.b.Op("onnx.Gather", []*ir.Value{w, m.expert})
}

// distinct says whether no row of an expert is there twice: its mask has one element for a
// row, or what it has for one are the choices of a token, which are different experts.
func (m *merge) distinct(at []*ir.Value) bool {
	i, ok := m.coordinates(at)
	if !ok {
		return false
	}
	mask := m.lists[0].Def.Args[0]
	t, _ := mask.Tensor()
	index := make([]sym.Expr, len(t.Dims))
	others := 0
	for j, d := range t.Dims {
		switch {
		case int64(j) == i:
			index[j] = sym.Var("position of a row")
		case d.IsInt(1):
			index[j] = sym.Const(0)
		default:
			index[j] = otherChoice
			others++
		}
	}
	return others == 0 || others == 1 && m.elements().oneOf(mask, index)
}
