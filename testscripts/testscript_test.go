// Package testscripts tells what a user of the command line sees, one story a file.
//
//	go test ./testscripts               run them
//	go test ./testscripts -update       write what was printed into the files
package testscripts

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pitopt/pitopt/internal/cli"
)

var update = flag.Bool("update", false, "write what was printed into the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pitopt": func() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           ".",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ROOT", root)
			env.Setenv("MODEL", filepath.Join(root, "examples", "encoder", "model.onnx"))
			env.Setenv("NO_COLOR", "1")
			if dir := os.Getenv("PITOPT_MODELS"); dir != "" {
				env.Setenv("PITOPT_MODELS", dir)
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "models" {
				if os.Getenv("PITOPT_MODELS") == "" {
					t.Log("without PITOPT_MODELS the stories about real models are skipped")
					return false, nil
				}
				return true, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}
