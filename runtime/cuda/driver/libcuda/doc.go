// Package libcuda is the CUDA driver by way of libcuda.so.1, opened when it is first needed: without cgo, and
// with no need of CUDA to build. It is there with the build tag "cuda", on Linux.
package libcuda
