package emu

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ptxas finds the assembler of NVIDIA: PITOPT_PTXAS, or on the path.
func ptxas() string {
	if p := os.Getenv("PITOPT_PTXAS"); p != "" {
		return p
	}
	p, _ := exec.LookPath("ptxas")
	return p
}

var ptxTarget = regexp.MustCompile(`(?m)^\.target sm_(\d+)`)

// TestAssembles has ptxas take what the tests run, so that the emulator takes nothing that the driver does not.
func TestAssembles(t *testing.T) {
	tool := ptxas()
	if tool == "" {
		t.Skip("no ptxas: it is neither in PITOPT_PTXAS nor on the path (scripts/ptxas fetches it)")
	}
	texts := map[string]string{"vadd": vadd, "instructions": instrModule(instrCases()), "warps": warpModule(warpCases())}
	for name, s := range subjects {
		texts[name] = testdata(t, s.file)
	}
	for name, text := range texts {
		file := filepath.Join(t.TempDir(), name+".ptx")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, arch := range []string{"80", "90"} {
			if m := ptxTarget.FindStringSubmatch(text); m != nil && m[1] > arch {
				continue
			}
			out, err := exec.Command(tool, "-arch=sm_"+arch, "-v", "-o", os.DevNull, file).CombinedOutput()
			if err != nil {
				t.Errorf("%s for sm_%s: %v\n%s", name, arch, err, out[:min(len(out), 1000)])
			}
			for _, line := range strings.Split(string(out), "\n") {
				if strings.Contains(line, "spill") && !strings.Contains(line, "0 bytes spill stores, 0 bytes spill loads") {
					t.Errorf("%s for sm_%s: %s", name, arch, strings.TrimSpace(line))
				}
			}
		}
	}
}
