package analysis

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Lives tells when the memory of a function is in use. Steps count what happens in order:
// each stage of a program that a statement calls, every other statement, and for one with
// regions what is inside, followed by one more step for the end of it. What a region reads
// from around it may be read again when the region runs again, so it lives to that end.
type Lives struct {
	Start   map[*ir.Stmt]int          // the first step of a statement
	Results map[*ir.Value]Life        // of results of programs and kernels: from the stage that writes them
	Temps   map[*ir.Stmt][]Life       // of what a statement may place beside its results, in the order of ir.Stmt.Temps
	Roots   map[*ir.Value][]*ir.Value // the results whose memory a value may be, or hold; of such a result, itself
	Escapes map[*ir.Value]bool        // results whose memory the block that makes them may give

	step     int
	programs map[ir.Callee]*programLives
}

// Forever is the step at which what escapes is still in use.
const Forever = math.MaxInt

// programLives tells of which stages a program's buffers are in use.
type programLives struct {
	params         []int // the stage that reads a parameter last
	results, temps []Life
}

// LivesOf finds the lives of a function's memory.
func LivesOf(f *ir.Func) *Lives {
	l := &Lives{Start: map[*ir.Stmt]int{}, Results: map[*ir.Value]Life{}, Temps: map[*ir.Stmt][]Life{},
		Roots: map[*ir.Value][]*ir.Value{}, Escapes: map[*ir.Value]bool{}, programs: map[ir.Callee]*programLives{}}
	l.block(&f.Block)
	return l
}

func (l *Lives) block(b *ir.Block) {
	start := l.step
	for _, s := range b.Stmts {
		l.stmt(s)
	}
	for _, v := range b.Results {
		for _, r := range l.Roots[v] {
			if l.Results[r].From >= start { // else it was there before, and will be
				l.Escapes[r] = true
				l.Results[r] = l.Results[r].with(Forever)
			}
		}
	}
}

func (l *Lives) stmt(s *ir.Stmt) {
	l.Start[s] = l.step
	if s.Kind == ir.OpStmt && (s.Op.Name == ir.AllocName || s.Op.Name == ir.ReleaseName) {
		return // takes no time
	}
	if p, ok := s.Staged(); ok {
		l.call(s, p)
		return
	}
	start := l.step
	for _, r := range s.Regions {
		l.block(r)
	}
	end := l.step
	l.step++
	for _, v := range slices.Concat(s.Args, s.Captured()) { // what is made inside is not read here
		if v != nil {
			l.read(v, end)
		}
	}
	if s.Kind == ir.OpStmt && s.Op.Control == ir.Repeats {
		l.Temps[s] = slices.Repeat([]Life{{start, end}}, min(len(s.Results), s.Carried()))
	}
	owns := s.Owns()
	var own []*ir.Value
	for i, v := range s.Results {
		if v != nil && owns[i] {
			l.define(v, Life{l.written(s, i, start), end})
			own = append(own, v)
		}
	}
	for i, v := range s.Results {
		switch {
		case v == nil || owns[i]:
		case s.Kind == ir.CastStmt || s.Kind == ir.OpStmt && s.Op.View:
			if i == 0 && s.Args[0] != nil {
				l.Roots[v] = l.Roots[s.Args[0]]
			}
		case s.MayHandOn(): // another result, too
			seen := map[*ir.Value]bool{}
			use := func(u *ir.Value) {
				for _, r := range l.Roots[u] {
					if !seen[r] {
						seen[r] = true
						l.Roots[v] = append(l.Roots[v], r)
					}
				}
			}
			if s.Kind == ir.OpStmt && s.Op.Control == ir.Branches { // one of what they give
				for _, r := range s.Regions {
					use(r.Results[i])
				}
			} else {
				s.EachUse(use)
			}
			for _, u := range own {
				use(u)
			}
		}
	}
}

// written is the first step at which something of result i is there: in a branch where it is made,
// in a loop from the start, since the next iteration writes what this one reads elsewhere.
func (l *Lives) written(s *ir.Stmt, i, start int) int {
	if len(s.Regions) == 0 || s.Op.Control != ir.Branches {
		return start
	}
	from := Forever
	for _, r := range s.Regions {
		from = min(from, l.Results[ir.Landing(r)[i]].From)
	}
	return from
}

// call is a call of a program, which takes a step for each stage.
func (l *Lives) call(s *ir.Stmt, p *ir.Program) {
	start := l.step
	l.step += max(1, len(p.Stages))
	in := l.programs[s.Callee]
	if in == nil {
		in = livesIn(p, s.Together())
		l.programs[s.Callee] = in
	}
	for i, a := range s.Args {
		if a != nil && i < len(in.params) {
			l.read(a, start+in.params[i])
		}
	}
	for i, v := range s.Results {
		if v != nil && i < len(in.results) {
			l.define(v, in.results[i].after(start))
		}
	}
	for _, life := range in.temps {
		l.Temps[s] = append(l.Temps[s], life.after(start))
	}
}

func (l Life) after(start int) Life { return Life{start + l.From, start + l.To} }

func (l *Lives) define(v *ir.Value, life Life) {
	l.Results[v] = life
	l.Roots[v] = []*ir.Value{v}
}

func (l *Lives) read(v *ir.Value, step int) {
	for _, r := range l.Roots[v] {
		l.Results[r] = l.Results[r].with(step)
	}
}

// livesIn finds the lives of a program's buffers, counted from its first stage. Stages that are
// computed together read and write from the first to the last of them.
func livesIn(p *ir.Program, together []ir.Range) *programLives {
	at := map[*ir.Buffer]Life{}
	for i, s := range p.Stages {
		r := together[i]
		for _, b := range s.Outs {
			at[b] = Life{r.First, r.Last}
		}
		for _, b := range s.Reads() {
			if life, ok := at[b]; ok {
				at[b] = life.with(r.Last)
			} else {
				at[b] = Life{0, r.Last}
			}
		}
	}
	out := &programLives{}
	for _, b := range p.Params {
		out.params = append(out.params, at[b].To)
	}
	for _, b := range p.Results {
		out.results = append(out.results, at[b])
	}
	for _, b := range p.Temps() {
		out.temps = append(out.temps, at[b])
	}
	return out
}

// Placed is something that a function places in a storage.
type Placed struct {
	Name    string // of the value, or of the temporary
	Storage *ir.Value
	Bytes   sym.Expr
	Life    Life
}

// Placed gives what a function places, in the order of the statements that do, results
// before temporaries. What escapes is left out: it has to have memory of its own.
func (l *Lives) Placed(f *ir.Func) []Placed {
	var out []Placed
	add := func(name string, st *ir.Value, t ir.Type, life Life) {
		if bytes, ok := ir.BytesOf(t); ok {
			out = append(out, Placed{name, st, bytes, life})
		}
	}
	f.Walk(func(s *ir.Stmt) {
		var temps []string
		var types []ir.Type
		if len(s.Into) > len(s.Results) {
			temps, types = s.Temps()
		}
		for i, st := range s.Into {
			switch {
			case st == nil:
			case i >= len(s.Results):
				i -= len(s.Results)
				add(temps[i], st, types[i], l.Temps[s][i])
			case s.Results[i] != nil && !l.Escapes[s.Results[i]]:
				add(s.Results[i].Name, st, s.Results[i].Type, l.Results[s.Results[i]])
			}
		}
	})
	return out
}

// Storages gives the lives of the storages of what is placed: from where the first thing is
// written to where the last of them is read.
func Storages(placed []Placed) map[*ir.Value]Life {
	out := map[*ir.Value]Life{}
	for _, x := range placed {
		if was, ok := out[x.Storage]; ok {
			x.Life = was.with(x.Life.From).with(x.Life.To)
		}
		out[x.Storage] = x.Life
	}
	return out
}
