// Command pitopt compiles and runs ONNX models with dynamic shapes.
package main

import (
	"os"

	"github.com/pitopt/pitopt/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
