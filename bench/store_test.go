package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is written without measuring has its rows in the history as well, each once.
func TestReportKeepsHistory(t *testing.T) {
	dir := t.TempDir()
	s := &store{CPU: "a processor", Titles: map[string]string{}, Results: []*result{
		{Group: "norms", Name: "Softmax", Threads: 1, Commit: "abc", Date: "2026-01-02", Samples: map[string][]float64{"pitopt": {100, 100}, "ort": {150, 150}}},
	}}
	for range 2 {
		if err := s.report(dir); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "performance-history.csv"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join(historyHead, ",") + "\n2026-01-02,abc,a processor,norms,1,ort,1,1.5000,1.5000,1.5000,100\n"
	if string(b) != want {
		t.Errorf("the history is\n%s\nnot\n%s", b, want)
	}
}
