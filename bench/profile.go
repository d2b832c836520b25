package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
)

// profile is what `pitopt bench -profile` tells of a run.
type profile struct {
	RunNS     float64 `json:"run_ns"`
	RestNS    float64 `json:"rest_ns"`
	Flops     float64 `json:"limit_flops"`
	Bandwidth float64 `json:"limit_bandwidth"`
	Stages    []struct {
		Node    string   `json:"node"`
		Program string   `json:"program"`
		Stages  []string `json:"stages"`
		By      string   `json:"by"`
		Calls   int      `json:"calls"`
		NS      float64  `json:"ns"`
		Flops   float64  `json:"flops"`
		Bytes   float64  `json:"bytes"`
	} `json:"stages"`
}

// profileOf calls it, pinned as workers are.
func (b *bench) profileOf(threads int, model string, args ...string) (*profile, error) {
	args = append([]string{"-c", b.coresFor(threads), b.pitopt, "bench", "-json", "-q", "-profile", "-threads", strconv.Itoa(threads), "-min-time", b.profiled.String()}, args...)
	out, err := exec.Command("taskset", append(args, model)...).Output()
	if err != nil {
		return nil, fmt.Errorf("pitopt bench -profile %s: %w: %s", model, err, bytes.TrimSpace(out))
	}
	var line struct {
		Shapes []struct {
			Profile *profile `json:"profile"`
		} `json:"shapes"`
	}
	if err := json.Unmarshal(out, &line); err != nil {
		return nil, err
	}
	return line.Shapes[0].Profile, nil
}
