// Package gorgonia is the CUDA driver by way of gorgonia.org/cu. It is there with the build tag "cu" and cgo, on
// Linux, and needs no CUDA to build: gorgonia.org/cu finds the header of this package, and lazy.c has the driver's functions.
// Both are named to the compiler by scripts/cu:
//
//	scripts/cu go build -tags cu ./cmd/pitopt
package gorgonia
