package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// assembly is the machine code that a run calls, and what for.
type assembly struct {
	now   []cpu.Use // of the statement that is being run
	codes []*x86.Code
	users map[*x86.Code][]string // the statements and stages that each is called for
	nodes []string               // the statements, and what each calls
}

// use is told of a call.
func (s *assembly) use(u cpu.Use) { s.now = append(s.now, u) }

// ran is told of a statement when it has run.
func (s *assembly) ran(st *ir.Stmt, _ []tensor.Value) {
	if len(s.now) == 0 {
		return
	}
	if s.users == nil {
		s.users = map[*x86.Code][]string{}
	}
	node := fmt.Sprintf("%q (%s)", st.Place(), strings.TrimPrefix(st.OpName(), "onnx."))
	var stages []string            // in the order in which they are computed
	calls := map[string][]string{} // the names of what each calls
	for _, u := range s.now {
		var names []string
		for _, g := range u.Stages {
			names = append(names, g.Out().Name)
		}
		stage := strings.Join(names, ", ")
		if !slices.Contains(s.codes, u.Code) {
			s.codes = append(s.codes, u.Code)
		}
		if user := node + ": " + stage; !slices.Contains(s.users[u.Code], user) {
			s.users[u.Code] = append(s.users[u.Code], user)
		}
		if calls[stage] == nil {
			stages = append(stages, stage)
		}
		if !slices.Contains(calls[stage], u.Code.Name) {
			calls[stage] = append(calls[stage], u.Code.Name)
		}
	}
	for _, stage := range stages {
		if line := fmt.Sprintf("node %s: %s by %s", node, stage, strings.Join(calls[stage], ", ")); !slices.Contains(s.nodes, line) {
			s.nodes = append(s.nodes, line)
		}
	}
	s.now = s.now[:0]
}

// print lists which statements call what, and then all code.
func (s *assembly) print(b *bytes.Buffer, m *pitopt.Model) {
	bytes := 0
	for _, c := range s.codes {
		bytes += len(c.Bytes)
	}
	if len(s.codes) == 0 {
		fmt.Fprintf(b, "# %s: the run calls no machine code\n", m.Code())
		return
	}
	fmt.Fprintf(b, "# %s: the run calls %s of %d bytes\n", m.Code(), count(len(s.codes), "function"), bytes)
	for _, line := range s.nodes {
		fmt.Fprintf(b, "# %s\n", line)
	}
	for _, c := range s.codes {
		fmt.Fprintln(b)
		for _, user := range s.users[c] {
			fmt.Fprintf(b, "# for node %s\n", user)
		}
		b.WriteString(c.Listing())
	}
}
