// Command operators writes docs/operators.md from the results that scripts/conformance
// collected: DIR holds interp.ndjson, cpu.ndjson, dynamic.ndjson and shared.ndjson, as
// `pitopt test -json` printed them.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
)

var runs = []string{"interp", "cpu", "dynamic", "shared"}

type line struct {
	Kind, Name, Status, Message string
	Code                        int
	Ops                         []string
	Passed, Failed, Skipped     int
}

func main() {
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "operators:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	total := map[string]line{}
	passed := map[string]map[string]int{} // operator, run
	cases := map[string]int{}
	missing := map[string]int{}
	other := map[string]string{}
	for _, run := range runs {
		f, err := os.Open(filepath.Join(dir, run+".ndjson"))
		if err != nil {
			return err
		}
		sc := bufio.NewScanner(f)
		sc.Buffer(nil, 1<<24)
		for sc.Scan() {
			var l line
			if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
				return err
			}
			switch {
			case l.Kind == "total":
				total[run] = l
				continue
			case l.Kind != "case" || l.Status == "skipped":
				continue
			}
			for _, op := range l.Ops {
				if passed[op] == nil {
					passed[op] = map[string]int{}
				}
				if run == runs[0] {
					cases[op]++
				}
				if l.Status == "passed" {
					passed[op][run]++
				}
			}
			if l.Status == "failed" {
				if _, rest, ok := strings.Cut(l.Message, "unsupported operator "); ok && l.Code == 4 {
					name, _, _ := strings.Cut(rest, ";")
					if run == runs[0] {
						missing[name]++
					}
				} else {
					msg := l.Message
					if i := strings.LastIndex(msg, ".onnx: "); i >= 0 {
						msg = msg[i+7:]
					}
					if len(msg) > 160 {
						msg = msg[:160] + "…"
					}
					other[run+" "+l.Name] = msg
				}
			}
		}
		_ = f.Close()
		if err := sc.Err(); err != nil {
			return err
		}
	}
	fmt.Print("# Operators\n\nWritten by `scripts/conformance` from results of ONNX's backend suite (PyPI onnx 1.22.0, rtol 1e-3, atol 1e-7).\n" +
		"`interp` and `cpu` are the two targets; `dynamic` is the CPU with every dim of the graph's inputs a symbol of its own,\n" +
		"`shared` with one symbol for equal sizes. Results of random operators are compared by shape and mean.\n\n")
	fmt.Println("| run | passed | failed | skipped |\n|---|---|---|---|")
	for _, run := range runs {
		t := total[run]
		fmt.Printf("| %s | %d | %d | %d |\n", run, t.Passed, t.Failed, t.Skipped)
	}
	fmt.Print("\nSkipped are cases whose model is not in the suite but would have to be downloaded. A case counts for every operator it uses.\n\n")
	fmt.Println("| operator | versions | meaning | cases | interp | cpu | dynamic | shared |\n|---|---|---|---|---|---|---|---|")
	for _, d := range ir.Registered() {
		if strings.HasPrefix(d.Name, "vm.") {
			continue
		}
		how := "executor"
		switch {
		case d.Body != nil:
			how = "program"
		case d.Expand != nil:
			how = "operators"
		case d.Reference():
			how = "reference"
		}
		p := passed[d.Name]
		fmt.Printf("| %s | %s | %s | %d | %d | %d | %d | %d |\n", d.Name, strings.Trim(fmt.Sprint(d.Since), "[]"), how, cases[d.Name], p["interp"], p["cpu"], p["dynamic"], p["shared"])
	}
	table("\n## Not there yet\n\n| operator | cases that fail for it |\n|---|---|", missing, func(n int) string { return fmt.Sprint(n) })
	table("\n## Other failures\n\n| run and case | why |\n|---|---|", other, func(s string) string { return strings.ReplaceAll(s, "|", "\\|") })
	return nil
}

func table[V any](head string, rows map[string]V, show func(V) string) {
	fmt.Println(head)
	keys := make([]string, 0, len(rows))
	for k := range rows {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Printf("| %s | %s |\n", k, show(rows[k]))
	}
}
