package kernel

import (
	"fmt"
	"math"
	"strings"
)

// String is the kernel as text: buffers, sizes, and one line for each value.
func (k *Kernel) String() string {
	p := &printer{k: k, names: map[*Value]string{}}
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
	p.block(k.Body, "  ")
	return p.String()
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
		how := strings.TrimSpace(accessNames[v.Access])
		if v.Access == Strided {
			how += fmt.Sprintf(" s%d", v.N)
		}
		switch {
		case v.Op == OpLoop:
			l := v.Loop
			tail := ""
			if l.Tail {
				tail = " with tail"
			}
			p.line("%sfor %s = %s .. %s step %d%s {", indent, p.name(l.Var), p.name(l.Lo), p.name(l.Hi), l.Step, tail)
			for _, c := range l.Carries {
				p.line("%s  carry %s = %s", indent, p.name(c.In), p.name(c.Init))
			}
			p.block(l.Body, indent+"  ")
			for _, c := range l.Carries {
				p.line("%s  next %s = %s, end %s", indent, p.name(c.In), p.name(c.Out), p.name(c.End))
			}
			p.line("%s}", indent)
		case v.Op == OpStore:
			p.line("%sstore %s %s[%s] = %s", indent, how, p.name(v.Args[0]), p.name(v.Args[1]), p.name(v.Args[2]))
		case v.Op == OpLoad:
			p.line("%s%s = %s load %s %s[%s]", indent, p.name(v), v.Kind, how, p.name(v.Args[0]), p.name(v.Args[1]))
		default:
			n := ""
			if v.N != 0 {
				n = fmt.Sprintf(" %d", v.N)
			}
			p.line("%s%s = %s %s%s %s", indent, p.name(v), v.Kind, v.Op, n, p.list(v.Args))
		}
	}
}
