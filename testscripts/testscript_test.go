// Package testscripts tells what a user of the command line sees, one story a file.
//
//	go test ./testscripts               run them
//	go test ./testscripts -update       write what was printed into the files
//
// Beside the commands of testscript there are
//
//	pitopt ...                    the program itself
//	pitopt-wrong ...              the program with passes that are wrong (wrong_test.go)
//	code N COMMAND ...            COMMAND ends with the exit code N
//	onnx FILE.ir FILE.onnx        writes a model from its text form
//	model NAME FILE.onnx          writes a model that has no text form (models_test.go)
//	malformed NAME                writes the malformed model NAME to NAME/model/model.onnx
//	data DIR TENSOR...            writes tensors such as x=f32[2]{1,2} as test data and .npy
//	interrupt REGEXP COMMAND ...  sends Ctrl-C when COMMAND has printed a match; code 130
//	sigkill REGEXP COMMAND ...    kills COMMAND when it has printed a match
//	plugin DIR FILE               builds the plugin in DIR of the repository
//	faulty FAULT                  makes FAULT, a plugin that has it (plugins/host/testdata),
//	                              and FAULT.toml with its pass acme/work
//	gone                          no process that the script started is left
//	readme SECTION DIR            writes each block of code in SECTION of README.md to DIR
//	within FILE OTHER             every line of FILE is one of OTHER
//	bytes FILE N                  FILE has N bytes
//	steady stdout FILE [cut]      writes what was printed to FILE, with times as TIME or 0; cut: fractions with four digits
package testscripts

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/internal/cli"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

var update = flag.Bool("update", false, "write what was printed into the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pitopt":       func() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) },
		"pitopt-wrong": func() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr, wrongPasses...)) },
	})
}

func TestScripts(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	built.dir, built.files = t.TempDir(), map[string]string{}
	dir := os.Getenv("PITOPT_MODELS")
	if dir == "" {
		t.Log("without PITOPT_MODELS the stories about real models are skipped")
	}
	testscript.Run(t, testscript.Params{
		Dir:           ".",
		UpdateScripts: *update,
		Cmds:          commands,
		Setup: func(env *testscript.Env) error {
			env.Setenv("ROOT", root)
			env.Setenv("MODEL", filepath.Join(root, "examples", "encoder", "model.onnx"))
			env.Setenv("NO_COLOR", "1")
			for name, value := range goEnv() {
				env.Setenv(name, value)
			}
			if dir != "" {
				env.Setenv("PITOPT_MODELS", dir)
			}
			if level, ok := os.LookupEnv("PITOPT_CPU"); ok {
				env.Setenv("PITOPT_CPU", level)
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "models":
				return dir != "", nil
			case "cuda", "emu": // targets of build tags
				return slices.Contains(pitopt.Targets(), map[string]string{"cuda": "cuda", "emu": "cuda-emu"}[cond]), nil
			case "v3", "v4": // levels that machine code runs at here
				f, _ := x86.Usable()
				return f&map[string]x86.Features{"v3": x86.V3, "v4": x86.V4}[cond] != 0, nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}
