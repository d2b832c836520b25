package kernel

import (
	"fmt"
	"math"
	"strings"
)

// String is the kernel as text: buffers, sizes, and one line for each value.
func (k *Kernel) String() string {
	p := &printer{k: k, names: map[*Value]string{}}
	p.head()
	p.block(k.Body, "  ")
	return p.String()
}

// Lines are the text in parts, for those who stand the values beside something else: what comes before them,
// and the line of each, which for a loop is its first one.
func (k *Kernel) Lines() (head string, line func(*Value) string) {
	p := &printer{k: k, names: map[*Value]string{}}
	p.block(k.Body, "") // it gives values their names
	p.Reset()
	p.head()
	return p.String(), p.value
}

func (p *printer) head() {
	k := p.k
	p.line("kernel %s, %d lanes", k.Name, k.Lanes)
	for _, b := range k.Buffers {
		what := "read"
		switch {
		case b.Scratch:
			what = "scratch"
		case b.Written:
			what = "written"
		}
		p.line("  %s: %s[%s] %s", b.Of.Name, b.DType, b.Len, what)
	}
	for i, s := range k.Sizes {
		p.line("  s%d = %s %s", i, s.Kind, s.Expr)
	}
	for i, r := range k.Ranges {
		p.line("  range %d: %s", i, r)
	}
}

type printer struct {
	strings.Builder
	k     *Kernel
	names map[*Value]string
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *printer) name(v *Value) string {
	switch v.Op {
	case OpConst:
		switch v.Kind {
		case F32:
			return fmt.Sprint(math.Float32frombits(uint32(v.N)))
		case I32:
			return fmt.Sprintf("%d", int32(v.N))
		case F64:
			return fmt.Sprint(math.Float64frombits(uint64(v.N)))
		}
		return fmt.Sprint(v.N)
	case OpSize:
		return fmt.Sprintf("s%d", v.N)
	case OpLo, OpHi:
		return fmt.Sprintf("%s%d", v.Op, v.N)
	case OpBase:
		return "&" + v.Buf.Of.Name
	}
	n, ok := p.names[v]
	if !ok {
		n = fmt.Sprintf("%%%d", len(p.names))
		p.names[v] = n
	}
	return n
}

func (p *printer) list(vs []*Value) string {
	var out []string
	for _, v := range vs {
		out = append(out, p.name(v))
	}
	return strings.Join(out, ", ")
}

func (p *printer) block(b *Block, indent string) {
	for _, v := range b.List {
		p.line("%s%s", indent, p.value(v))
		if v.Op != OpLoop {
			continue
		}
		for _, c := range v.Loop.Carries {
			p.line("%s  carry %s = %s", indent, p.name(c.In), p.name(c.Init))
		}
		p.block(v.Loop.Body, indent+"  ")
		for _, c := range v.Loop.Carries {
			p.line("%s  next %s = %s, end %s", indent, p.name(c.In), p.name(c.Out), p.name(c.End))
		}
		p.line("%s}", indent)
	}
}

// value is the line of a value; of a loop the first one.
func (p *printer) value(v *Value) string {
	how := strings.TrimSpace(accessNames[v.Access])
	if v.Access == Strided {
		how += fmt.Sprintf(" s%d", v.N)
	}
	switch v.Op {
	case OpLoop:
		l := v.Loop
		tail := ""
		if l.Tail {
			tail = " with tail"
		}
		return fmt.Sprintf("for %s = %s .. %s step %d%s {", p.name(l.Var), p.name(l.Lo), p.name(l.Hi), l.Step, tail)
	case OpStore:
		where := ""
		if len(v.Args) > 3 {
			where = " where " + p.name(v.Args[3])
		}
		return fmt.Sprintf("store %s %s[%s] = %s%s", how, p.name(v.Args[0]), p.name(v.Args[1]), p.name(v.Args[2]), where)
	case OpLoad:
		where := ""
		if len(v.Args) > 2 {
			where = " where " + p.name(v.Args[2])
		}
		return fmt.Sprintf("%s = %s load %s %s[%s]%s", p.name(v), v.Kind, how, p.name(v.Args[0]), p.name(v.Args[1]), where)
	case OpMust:
		return "must " + p.name(v.Args[0])
	}
	n := ""
	if v.N != 0 {
		n = fmt.Sprintf(" %d", v.N)
	}
	return fmt.Sprintf("%s = %s %s%s %s", p.name(v), v.Kind, v.Op, n, p.list(v.Args))
}
