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

// accept has ptxas assemble a text that a test runs, so that the emulator takes nothing that the
// driver does not. Without ptxas it logs that it did not.
func accept(t *testing.T, text string) {
	t.Helper()
	tool := ptxas()
	if tool == "" {
		t.Log("not shown to ptxas: it is neither in PITOPT_PTXAS nor on the path")
		return
	}
	name := filepath.Join(t.TempDir(), "k.ptx")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"80", "90"} {
		if m := ptxTarget.FindStringSubmatch(text); m != nil && m[1] > arch {
			continue
		}
		out, err := exec.Command(tool, "-arch=sm_"+arch, "-o", os.DevNull, name).CombinedOutput()
		if err != nil {
			lines := strings.SplitN(string(out), "\n", 8)
			t.Errorf("ptxas for sm_%s: %v\n%s", arch, err, strings.Join(lines[:min(7, len(lines))], "\n"))
		}
	}
}
