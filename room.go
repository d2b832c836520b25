package pitopt

import (
	goruntime "runtime"
	"runtime/metrics"
	"sync"

	"github.com/pitopt/pitopt/core/tensor"
)

// Passes make much that they soon drop, and little of it lives. So Go's memory is readied for them.
const (
	roomToCompile  = 24 << 20 // what passes make between two runs of the garbage collector, at least
	pagesToCompile = 32 << 20 // of the heap that get large ones
	littleHeap     = 16 << 20 // the collector runs before the heap is as large: the process has just begun
)

// makeRoom gives a block that is to be kept while passes run. Nobody touches it, so that no page is behind it, and the
// garbage collector counts it: with the few MB that live it would come every few milliseconds.
func makeRoom() []byte {
	var pages []byte
	heapReady.Do(func() { pages = largePages() })
	room := make([]byte, roomToCompile)
	if pages != nil { // it stays in Go's heap, below the block
		goruntime.KeepAlive(pages)
		pages = nil
		goruntime.GC()
	}
	return room
}

var heapReady sync.Once

// largePages gives a part of the heap that has large pages where the system has some; it is nil where the heap has grown
// already. In a process that begins, passes are the first to touch what they get, and finding small pages takes as long as
// the passes of a small model.
func largePages() []byte {
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(goal)
	if goal[0].Value.Kind() != metrics.KindUint64 || goal[0].Value.Uint64() > littleHeap {
		return nil
	}
	b := make([]byte, pagesToCompile)
	if !tensor.LargePages(b) {
		return nil
	}
	return b
}
