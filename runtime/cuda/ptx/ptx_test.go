package ptx_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/runtime/cuda/ptx"
	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// assembler is NVIDIA's, of $PITOPT_PTXAS or on the path; scripts/ptxas fetches it.
func assembler(t testing.TB) string {
	t.Helper()
	name := os.Getenv("PITOPT_PTXAS")
	if name == "" {
		name = "ptxas"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("there is no ptxas to assemble kernels with: %v", err)
	}
	return path
}

// assemble assembles kernels for the processors that are checked; registers that are spilled are an error.
func assemble(t testing.TB, ptxas string, k *kernel.Kernel) {
	t.Helper()
	for _, shared := range []bool{false, true} {
		if shared && !k.HasScratch() || !shared && k.Group > 0 {
			continue
		}
		c, err := ptx.Print(k, ptx.Options{Shared: shared})
		if err != nil {
			t.Errorf("%v\n%s", err, k)
			return
		}
		file := filepath.Join(t.TempDir(), "kernel.ptx")
		if err := os.WriteFile(file, []byte(c.Text), 0o666); err != nil {
			t.Fatal(err)
		}
		for _, arch := range []string{"sm_80", "sm_90"} {
			out, err := exec.Command(ptxas, "-v", "-arch="+arch, file, "-o", file+".cubin").CombinedOutput()
			if err != nil || !strings.Contains(string(out), " 0 bytes spill stores, 0 bytes spill loads") {
				t.Errorf("%s: %v\n%s\n%s", arch, err, out, c.Text)
			}
		}
	}
}

// NVIDIA's assembler takes what is printed, and has registers enough.
func TestAssembles(t *testing.T) {
	ptxas, count := assembler(t), 0
	all := func(p *ir.Program) {
		for _, g := range kernel.New(p, kernel.Options{Lanes: ptx.Lanes, Blocks: ptx.Blocks}).Groups {
			for _, k := range append(g.Before, g.Kernel) {
				assemble(t, ptxas, k)
				count++
			}
		}
	}
	for name, src := range kerneltest.Examples {
		t.Run(name, func(t *testing.T) { all(kerneltest.Program(t, src)) })
	}
	rounds := 60
	if testing.Short() {
		rounds = 5
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { all(kerneltest.Random(rand.New(rand.NewPCG(uint64(seed), 9)), true)) })
	}
	t.Logf("%d kernels", count)
}
