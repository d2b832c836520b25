package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// store is all that was measured last, of each group: what documents are written from.
type store struct {
	Results []*result `json:"results"`
}

func readStore(file string) (*store, error) {
	s := &store{}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal(b, s)
}

// merge puts new results in the place of older ones of a group on some threads, and writes the file. Where not all of
// the group was measured, the others have to be there, and of this machine: what is written is of a whole group.
func (s *store) merge(b *bench, g *group, threads int, file string) error {
	if len(b.results) == 0 {
		return nil
	}
	commit, date, cpu := commitOf(b.root), time.Now().UTC().Format("2006-01-02"), cpuOf()
	for _, r := range b.results {
		r.Commit, r.Date, r.CPU, r.Engines = commit, date, cpu, b.titles
		for _, key := range g.rivals {
			if why := b.missing[key]; why != "" {
				if r.Absent == nil {
					r.Absent = map[string]string{}
				}
				r.Absent[key] = why
			}
		}
	}
	old := s.of(g.name, threads)
	switch {
	case b.match == nil:
		s.Results = slices.DeleteFunc(s.Results, func(r *result) bool { return slices.Contains(old, r) })
		s.Results = append(s.Results, b.results...)
	case len(old) == 0 || old[0].CPU != cpu:
		b.say("not kept: the rest of %s on %d threads was not measured on this machine", g.name, threads)
		return nil
	default:
		for _, r := range b.results {
			if i := slices.IndexFunc(s.Results, func(o *result) bool { return o.Group == r.Group && o.Threads == r.Threads && o.Name == r.Name }); i >= 0 {
				s.Results[i] = r
			} else {
				s.Results = append(s.Results, r)
			}
		}
	}
	out, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	return os.WriteFile(file, out, 0o666)
}

// of are the results of a group on some threads, in the order in which they were measured.
func (s *store) of(group string, threads int) (out []*result) {
	for _, r := range s.Results {
		if r.Group == group && r.Threads == threads {
			out = append(out, r)
		}
	}
	return out
}

// threads are the numbers of threads of a group.
func (s *store) threads(group string) (out []int) {
	for _, r := range s.Results {
		if r.Group == group && !slices.Contains(out, r.Threads) {
			out = append(out, r.Threads)
		}
	}
	slices.Sort(out)
	return out
}

// cpuOf names the processor.
func cpuOf() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	fields := map[string]string{}
	cores := 0
	for _, line := range strings.Split(string(b), "\n") {
		k, v, _ := strings.Cut(line, ":")
		if k = strings.TrimSpace(k); k == "processor" {
			cores++
		}
		fields[k] = strings.TrimSpace(v)
	}
	return fmt.Sprintf("%s, family %s model %s, %d cores", fields["model name"], fields["cpu family"], fields["model"], cores)
}

func commitOf(root string) string {
	git := func(args ...string) string {
		out, _ := exec.Command("git", append([]string{"-C", root}, args...)...).Output()
		return strings.TrimSpace(string(out))
	}
	commit := git("rev-parse", "--short=10", "HEAD")
	if git("status", "--porcelain", "--untracked-files=no", "--", ":!docs") != "" {
		commit += "+"
	}
	return commit
}

var historyHead = []string{"date", "commit", "cpu", "group", "threads", "rival", "workloads", "ratio", "low", "high", "pitopt_ns"}

// history appends a row for each group, number of threads and rival of a commit; those of the same commit
// are written over.
func (s *store) history(file string) error {
	rows := [][]string{historyHead}
	if f, err := os.Open(file); err == nil {
		rows, err = csv.NewReader(f).ReadAll()
		f.Close()
		if err != nil {
			return err
		}
	}
	for _, g := range groups {
		for threads := range 64 {
			for _, rival := range rivalOrder {
				var lists, own [][]float64
				date, commit, cpu := "", "", ""
				for _, r := range s.Results {
					if x := r.ratios(rival); r.Group == g.name && r.Threads == threads && x != nil {
						lists, own, date, commit, cpu = append(lists, x), append(own, r.Samples["pitopt"]), r.Date, r.Commit, r.CPU
					}
				}
				if len(lists) == 0 {
					continue
				}
				m, ns := geomeanOf(lists), geomeanOf(own)
				row := []string{date, commit, cpu, g.name, fmt.Sprint(threads), rival, fmt.Sprint(len(lists)),
					fmt.Sprintf("%.4f", m.Median), fmt.Sprintf("%.4f", m.Low), fmt.Sprintf("%.4f", m.High), fmt.Sprintf("%.0f", ns.Median)}
				rows = slices.DeleteFunc(rows, func(old []string) bool { return slices.Equal(old[1:6], row[1:6]) })
				rows = append(rows, row)
			}
		}
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	return f.Close()
}

// allowed lists the cores that the process may use.
func allowed() (cores []string, err error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(b), "\n") {
		list, ok := strings.CutPrefix(line, "Cpus_allowed_list:")
		if !ok {
			continue
		}
		for _, part := range strings.Split(strings.TrimSpace(list), ",") {
			from, to, isRange := strings.Cut(part, "-")
			if !isRange {
				to = from
			}
			first, err1 := strconv.Atoi(from)
			last, err2 := strconv.Atoi(to)
			if err := errors.Join(err1, err2); err != nil {
				return nil, fmt.Errorf("the cores that may be used: %w", err)
			}
			for i := first; i <= last; i++ {
				cores = append(cores, strconv.Itoa(i))
			}
		}
	}
	if len(cores) == 0 {
		return nil, errors.New("/proc/self/status does not tell which cores may be used: say it with -cores")
	}
	return cores, nil
}
