package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"

	features "golang.org/x/sys/cpu"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// version tells what this binary is, and what it finds on the machine.
func (a *app) version(args []string) error {
	a.begin("version", "", "Tells version, Go version, platform, the targets that the binary has, the level of the CPU, and by which table of\n"+
		"tiles runs choose how they leave out zeros: one that `pitopt tune` has stored, or one that is built in.")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	if err := none(rest); err != nil {
		return err
	}
	v := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	device := cpu.New(1)
	defer device.Close()
	code, err := device.Code()
	if err != nil {
		return err
	}
	stored, left := device.StoredTiles()
	targets := pitopt.Targets()
	sort.Strings(targets)
	if left != nil {
		a.note("%v", left)
	}
	if a.common.json {
		a.emit(map[string]any{"kind": "version", "version": v, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
			"targets": targets, "cpu": cpuName(), "cpu_level": cpuLevel(), "cpu_code": code, "tiles": stored})
		return nil
	}
	fmt.Fprintf(a.out, "pitopt %s, %s %s/%s, targets: %s\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH, strings.Join(targets, ", "))
	fmt.Fprintf(a.out, "CPU: %s, %s\n", cpuName(), cpuLevel())
	fmt.Fprintf(a.out, "target cpu: %s\n", code)
	if stored == "" {
		stored = "built in"
	}
	fmt.Fprintf(a.out, "table of tiles: %s\n", stored)
	return nil
}

// cpuLevel is the level of the instruction set as the ABI of x86-64 defines them, for
// other machines the architecture.
func cpuLevel() string {
	if runtime.GOARCH != "amd64" {
		return runtime.GOARCH
	}
	x := features.X86
	v2 := x.HasSSE3 && x.HasSSSE3 && x.HasSSE41 && x.HasSSE42 && x.HasPOPCNT && x.HasCX16
	v3 := v2 && x.HasAVX && x.HasAVX2 && x.HasBMI1 && x.HasBMI2 && x.HasFMA && x.HasOSXSAVE
	switch {
	case v3 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL:
		return "x86-64-v4"
	case v3:
		return "x86-64-v3"
	case v2:
		return "x86-64-v2"
	}
	return "x86-64-v1"
}
