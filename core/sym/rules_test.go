package sym

import (
	"fmt"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every rule of this package runs in a test that compares what comes out of it with brute
// force: these tests, whose names say so, leave no statement out but those that give up. The
// text form has tests of its own.
func TestEveryRuleIsTested(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "cover")
	if out, err := exec.Command("go", "test", "-run=AgainstBruteForce", "-coverprofile="+profile, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")[1:]
	if len(lines) < 300 {
		t.Fatalf("%d pieces of code, want some hundreds", len(lines))
	}
	files := map[string]*ast.File{}
	set := token.NewFileSet()
	for _, line := range lines {
		var from, to token.Position
		var statements, count int
		name, rest, _ := strings.Cut(line, ":")
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &from.Line, &from.Column, &to.Line, &to.Column, &statements, &count); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if name = filepath.Base(name); count > 0 || slices.Contains([]string{"parse.go", "print.go"}, name) {
			continue
		}
		if files[name] == nil {
			if files[name], err = goparser.ParseFile(set, name, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		if !givesUp(set, files[name], from, to) {
			t.Errorf("%s:%d: no brute force test runs this", name, from.Line)
		}
	}
}

// givesUp says whether the only statement in a piece of code goes on elsewhere, without a
// result or with one that is no news: a name, a literal, an error, the atom as it is.
func givesUp(set *token.FileSet, file *ast.File, from, to token.Position) bool {
	var within []ast.Stmt
	ast.Inspect(file, func(n ast.Node) bool {
		s, ok := n.(ast.Stmt)
		if _, block := n.(*ast.BlockStmt); !ok || block {
			return true
		}
		first, last := set.Position(s.Pos()), set.Position(s.End())
		if before(from, first) && before(last, to) {
			within = append(within, s)
			return false
		}
		return true
	})
	if len(within) != 1 {
		return false
	}
	switch s := within[0].(type) {
	case *ast.BranchStmt:
		return true
	case *ast.ReturnStmt:
		return !slices.ContainsFunc(s.Results, func(e ast.Expr) bool { return !isPlain(e) })
	}
	return false
}

func isPlain(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident, *ast.BasicLit, *ast.SelectorExpr:
		return true
	case *ast.UnaryExpr:
		return isPlain(e.X)
	case *ast.CompositeLit:
		return !slices.ContainsFunc(e.Elts, func(e ast.Expr) bool { return !isPlain(e) })
	case *ast.CallExpr:
		f := e.Fun
		if s, ok := f.(*ast.SelectorExpr); ok {
			f = s.Sel
		}
		return slices.Contains([]string{"invalid", "Errorf", "newAtom"}, f.(*ast.Ident).Name)
	}
	return false
}

func before(a, b token.Position) bool {
	return a.Line < b.Line || a.Line == b.Line && a.Column <= b.Column
}
