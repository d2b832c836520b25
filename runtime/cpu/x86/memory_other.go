//go:build !amd64 || !(linux || darwin || windows)

package x86

// memory is not asked for where code can not be called.
var memory system
