package cli

import (
	"bytes"
	"fmt"
	"os"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/disk"
	"github.com/pitopt/pitopt/passes"
)

// fmt writes a pipeline file in canonical form.
func (a *app) fmt(args []string) error {
	fs := a.begin("fmt", "FILE", "Writes a pipeline file in canonical form: what it says stays the same, comments stay where they are.")
	check := fs.Bool("check", false, "only say whether the file is in canonical form; exit code 1: it is not")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	path, err := a.one(rest, "file")
	if err != nil {
		return err
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return diag.New(diag.Usage, "%v", withoutPath(err)).In(path).Hint("check the path")
	}
	if _, err := passes.Parse(path, src); err != nil {
		return err
	}
	out, err := passes.Format(path, src)
	if err != nil {
		return err
	}
	canonical := bytes.Equal(out, src)
	if !canonical && !*check {
		if err := disk.Write(path, out); err != nil {
			return diag.New(diag.Run, "can not be written: %v", err).In(path)
		}
	}
	switch {
	case a.common.json:
		a.emit(map[string]any{"kind": "fmt", "file": path, "canonical": canonical, "written": !canonical && !*check})
	case *check && !canonical:
		fmt.Fprintf(a.out, "%s is not in canonical form\n", path)
	}
	if *check && !canonical {
		return exitCode(1)
	}
	return nil
}
