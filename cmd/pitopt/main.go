// Command pitopt compiles and runs ONNX models with dynamic shapes.
package main

import (
	"os"
	"runtime/debug"

	"github.com/pitopt/pitopt/internal/cli"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// What a model is compiled with is garbage soon, and little of it: collecting it from the first
		// megabytes on would take a quarter of the time to the first result.
		debug.SetGCPercent(400)
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr))
}
