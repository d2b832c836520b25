package pitopt_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// layers is the table of docs/architecture.md: what the packages of a folder may import
// of this module. The longest prefix that fits a folder counts. Tests may import more.
var layers = []struct {
	folder string
	may    []string
}{
	{"core/diag", nil},
	{"core/disk", nil},
	{"core/sym", nil},
	{"core/reuse", nil},
	{"core/tensor", nil},
	{"core/ir", []string{"core/diag", "core/sym", "core/tensor"}},
	{"core/text", []string{"core/diag", "core/sym", "core/tensor", "core/ir"}},
	{"core/irpb", []string{"core/diag", "core/sym", "core/tensor", "core/ir", "core/irpb"}},
	{"core/op", []string{"core/diag", "core/sym", "core/tensor", "core/ir"}},
	{"core/target", []string{"core/sym", "core/ir"}},
	{"core/analysis", []string{"core/diag", "core/sym", "core/tensor", "core/ir", "core/op"}},
	{"core/interp", []string{"core/diag", "core/sym", "core/tensor", "core/reuse", "core/ir", "core/op"}},
	{"core/pass", []string{"core/diag", "core/sym", "core/tensor", "core/ir", "core/analysis", "core/target"}},
	{"core/reduce", []string{"core/sym", "core/tensor", "core/ir"}},
	{"frontend", []string{"core", "frontend"}},
	{"passes", []string{"core", "passes"}},
	{"plugins", []string{"core", "plugins"}},
	{"runtime", []string{"core", "runtime"}},
	{"runtime/kernel", []string{"core"}},
	{"runtime/kernel/kerneltest", []string{"core", "runtime/kernel"}},
	{"runtime/cpu/x86", nil},
	{"runtime/cuda", []string{"core", "runtime"}},
	{"runtime/cuda/ptx", []string{"core/tensor", "runtime/kernel"}},
	{"runtime/cuda/driver", []string{"runtime/cuda/driver"}},
	{"runtime/cuda/driver/standin", []string{"runtime/cuda/driver", "runtime/cuda/emu"}},
	{"runtime/cuda/emu", []string{"core/tensor", "runtime/cuda/driver"}},
	{"runtime/cpu/emit", []string{"core/tensor", "runtime/kernel", "runtime/cpu/x86"}},
	{"internal/cli", []string{"", "core", "frontend", "passes", "plugins", "runtime"}},
	{"cmd", []string{"internal/cli"}},
	{"interop", []string{"", "core", "frontend"}},
	{"examples", []string{"", "core", "frontend"}},
	{"testscripts", []string{"internal/cli"}},
	{"scripts", []string{"", "core", "frontend", "passes"}},
	{"", []string{"core", "frontend", "passes", "plugins", "runtime"}},
}

const module = "github.com/pitopt/pitopt"

func within(folder, prefix string) bool {
	return folder == prefix || prefix != "" && strings.HasPrefix(folder, prefix+"/")
}

// TestLayers reads every file's imports and holds them against the table.
func TestLayers(t *testing.T) {
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(path, "go.mod"))
			if path != "." && (nested == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		if folder == "." {
			folder = ""
		}
		var may []string
		best := -1
		for _, l := range layers {
			if within(folder, l.folder) && len(l.folder) > best {
				may, best = l.may, len(l.folder)
			}
		}
		for _, imp := range f.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if !within(name, module) {
				continue
			}
			target := strings.TrimPrefix(strings.TrimPrefix(name, module), "/")
			ok := target == folder
			for _, m := range may {
				ok = ok || target == m || within(target, m)
			}
			if !ok {
				t.Errorf("%s imports %q, which its layer may not", path, target)
			}
		}
		return nil
	})
	if err != nil || files < 50 {
		t.Fatalf("%d files read: %v", files, err)
	}
}
