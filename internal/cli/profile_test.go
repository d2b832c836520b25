package cli

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// A stage that took no tick of the clock has numbers all the same, which JSON can hold.
func TestProfileWithoutTicks(t *testing.T) {
	p := &profile{runs: 3, took: time.Microsecond, limits: cpu.Limits{Flops: 1e9, Bandwidth: 1e9}}
	p.add([]runtime.Span{{Work: &runtime.Work{Node: "empty"}}, {Work: &runtime.Work{Node: "full", Flops: 4, Bytes: 8}}})
	if _, err := json.Marshal(p.json()); err != nil {
		t.Error(err)
	}
}
