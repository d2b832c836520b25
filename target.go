package pitopt

import (
	"maps"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// openers make the devices that this binary has, for a number of threads. Files with build tags add to them.
var openers = map[string]func(threads int) (runtime.Device, error){"cpu": openCPU}

// tags are the build tags of the devices that not every binary has.
var tags = map[string]string{
	"cuda":     "it is for go build -tags cuda, or with cgo scripts/cu go build -tags cu",
	"cuda-emu": "it is for go build -tags emu",
}

func openCPU(threads int) (runtime.Device, error) {
	d := cpu.New(threads)
	if _, err := d.Code(); err != nil {
		return nil, err
	}
	return d, nil
}

// OpenDevice opens the device of a target for a number of threads, 0: all processors. It is nil for
// "interp". Where the name is empty, file is the name that a pipeline has.
func OpenDevice(name, file string, threads int) (d runtime.Device, target string, err error) {
	if target, err = chooseTarget(name, file); err != nil || target == "interp" {
		return nil, target, err
	}
	if target == "auto" {
		if open := openers["cuda"]; open != nil {
			if d, err := open(threads); err == nil {
				return d, "cuda", nil
			}
		}
		target = "cpu"
	}
	if d, err = openers[target](threads); err != nil {
		return nil, target, err // d may hold a nil pointer
	}
	return d, target, nil
}

// CheckTarget says what is wrong with the name of a target; nil where this binary has it.
func CheckTarget(name string) error {
	_, err := chooseTarget(name, "")
	return err
}

func chooseTarget(option, file string) (string, error) {
	name := option
	if name == "" {
		name = file
	}
	switch {
	case name == "":
		return "auto", nil
	case name == "auto" || name == "interp" || openers[name] != nil:
		return name, nil
	case tags[name] != "":
		return "", diag.New(diag.Usage, "target %q: this binary was built without it; %s", name, tags[name])
	}
	return "", diag.New(diag.Usage, "unknown target %q", name).Hint("%s", diag.DidYouMean(name, []string{"auto", "cpu", "interp", "cuda", "cuda-emu"}))
}

// Targets lists the targets that this binary has, in order.
func Targets() []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(openers)), "interp")))
}
