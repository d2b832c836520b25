package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/frontend/onnx/wire/corpus"
)

// call runs the program.
func call(args ...string) (code diag.Code, out, errOut string) {
	var o, e bytes.Buffer
	n := Main(args, &o, &e)
	return diag.Code(n), o.String(), e.String()
}

// Every malformed model is refused by a run and by inspect, in one line that names the
// file, and in one object of JSON.
func TestMalformed(t *testing.T) {
	for _, c := range corpus.Cases() {
		path, err := c.Write(t.TempDir())
		if err != nil {
			if len(c.Symlinks)+len(c.Hardlinks) > 0 {
				t.Logf("%s is skipped: this system makes no links: %v", c.Name, err)
				continue
			}
			t.Fatal(err)
		}
		for _, args := range [][]string{{"-q", path}, {"inspect", path}} {
			code, out, errOut := call(args...)
			if code != diag.Malformed || out != "" || !strings.HasPrefix(errOut, "pitopt: "+path+": ") || strings.Count(errOut, "\n") != 1 {
				t.Errorf("%s, %s: exit code %d\n%s%s", c.Name, args[0], code, out, errOut)
			}
		}
		code, out, _ := call("-json", path)
		var line struct {
			Kind, File, Message string
			Code                diag.Code
		}
		if err := json.Unmarshal([]byte(out), &line); err != nil || code != line.Code || line.Kind != "error" || line.File != path || line.Message == "" {
			t.Errorf("%s: exit code %d, %v\n%s", c.Name, code, err, out)
		}
	}
}

// With -json every line of every command is an object that says its kind and the version of
// the schema, be it a result or an error.
func TestJSON(t *testing.T) {
	model, pipeline := "../../examples/encoder/model.onnx", "../../pipeline.toml"
	documented, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		kind string // of the last line
		code diag.Code
	}{
		{"-json -dim batch=1 MODEL", "run", 0},
		{"MODEL -q -print-changed --json=true", "run", 0},
		{"inspect -json MODEL", "model", 0},
		{"inspect -json -checks MODEL", "checks", 0},
		{"inspect -json -memory -dim batch=2 -dim seq=3 MODEL", "memory", 0},
		{"inspect -json -kernels MODEL", "program", 0},
		{"inspect -json -sparsity MODEL", "product", 0},
		{"inspect -json -padding MODEL", "padding", 0},
		{"test -json ../../examples/encoder", "total", 0},
		{"bench -json -min-time 0s -dim seq=2 MODEL", "bench", 0},
		{"passes -json", "pass", 0},
		{"passes -json fuse", "pass", 0},
		{"ops -json", "operator", 0},
		{"ops -json -axes", "axes", 0},
		{"fmt -json -check PIPELINE", "fmt", 0},
		{"version -json", "version", 0},
		{"-json", "error", diag.Usage},
		{"-json nowhere.onnx", "error", diag.Usage},
		{"-wrong -json", "error", diag.Usage},
		{"-pipeline nowhere.toml MODEL -json", "error", diag.Pipeline},
		{"inspect -json cli.go", "error", diag.Malformed},
		{"test -json nowhere", "error", diag.Usage},
		{"bench -json -shapes x MODEL", "error", diag.Usage},
		{"passes -json fuze", "error", diag.Usage},
		{"plugin -json lists", "error", diag.Usage},
		{"fmt -json cli.go", "error", diag.Pipeline},
		{"version -json 3", "error", diag.Usage},
		{"tune -json 3", "error", diag.Usage},
		{"help -json", "error", diag.Usage},
	} {
		args := strings.Fields(strings.NewReplacer("MODEL", model, "PIPELINE", pipeline).Replace(c.args))
		code, out, errOut := call(args...)
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", c.args, code, c.code, errOut)
		}
		kind := ""
		for line := range strings.Lines(out) {
			var x struct {
				Kind   string
				Schema int
				Code   diag.Code
			}
			if err := json.Unmarshal([]byte(line), &x); err != nil || x.Schema != schemaVersion || x.Kind == "" || x.Kind == "error" && x.Code != code {
				t.Errorf("%s: %v: %s", c.args, err, line)
			}
			kind = x.Kind
			var all any
			_ = json.Unmarshal([]byte(line), &all)
			for _, word := range append(keys(all), x.Kind) {
				if !strings.Contains(string(documented), "`"+word+"`") {
					t.Errorf("%s: docs/json.md does not speak of %q: %s", c.args, word, line)
				}
			}
		}
		if kind != c.kind {
			t.Errorf("%s: the last line is of kind %q, want %q", c.args, kind, c.kind)
		}
	}
}

// keys are the keys of an object and of what it holds, but for those that are names: of
// operators, domains, inputs and symbols.
func keys(v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			out = append(out, k)
			if names := k == "operators" || k == "opsets" || k == "inputs" || k == "dims"; names {
				if _, ok := x.(map[string]any); ok {
					continue
				}
			}
			out = append(out, keys(x)...)
		}
	case []any:
		for _, x := range v {
			out = append(out, keys(x)...)
		}
	}
	return out
}
