package drivertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// StandIn runs the suite, TestDriver of the package that calls it, on a libcuda that has the emulator for
// a device: what is between Go and C is tested so without a GPU. built says whether the binding is there.
func StandIn(t *testing.T, built bool) {
	switch {
	case !built:
		t.Skip("this binary was built without the binding: it has a build tag")
	case testing.Short():
		t.Skip("building a library takes a while: not with -short")
	}
	for _, tool := range []string{"go", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the library cannot be built: %v", err)
		}
	}
	lib := filepath.Join(t.TempDir(), "libcuda.so.1")
	build := exec.Command("go", "build", "-tags", "standin", "-buildmode=c-shared", "-o", lib,
		"github.com/pitopt/pitopt/runtime/cuda/driver/standin")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := exec.Command(self, "-test.run", "^TestDriver$", "-test.v")
	run.Env = append(os.Environ(), "PITOPT_LIBCUDA="+lib)
	out, err := run.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestDriver/again") {
		t.Errorf("%v\n%s", err, out)
	}
}
