package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// part is what a document has of a group on some threads.
type part struct {
	title   string // of the group
	threads int
}

// document is one that was written, part by part: those that are not measured anew stay as they are.
type document struct {
	wanted, slower map[part][]string // rows of the tables that are of all groups
	sections       map[part][]string // lines
}

const (
	wantedTitle = "What is wanted, and what is"
	slowerTitle = "Where a rival is faster"
)

var (
	rowStart  = regexp.MustCompile(`^\| ([^|]+) \| (\d+) \| `)
	partStart = regexp.MustCompile(`^(\d+) threads?, commit`)
)

// readDocument takes a document apart; one that is not there is empty.
func readDocument(file string) (*document, error) {
	d := &document{map[part][]string{}, map[part][]string{}, map[part][]string{}}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	var at part
	for _, line := range strings.Split(string(b), "\n") {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			at = part{title: title}
			continue
		}
		switch at.title {
		case "":
		case wantedTitle, slowerTitle:
			rows := d.wanted
			if at.title == slowerTitle {
				rows = d.slower
			}
			if m := rowStart.FindStringSubmatch(line); m != nil {
				n, _ := strconv.Atoi(m[2])
				p := part{m[1], n}
				rows[p] = append(rows[p], line)
			}
		default:
			if m := partStart.FindStringSubmatch(line); m != nil {
				at.threads, _ = strconv.Atoi(m[1])
			}
			if at.threads > 0 {
				d.sections[at] = append(d.sections[at], line)
			}
		}
	}
	return d, nil
}

// threads are the numbers of threads for which there is something of a group.
func (d *document) threads(title string) (out []int) {
	for p := range d.sections {
		if p.title == title {
			out = append(out, p.threads)
		}
	}
	slices.Sort(out)
	return out
}

// write writes the groups on sparsity, or the others, in their order.
func (d *document) write(file, head string, sparse bool) error {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("%s", head)
	var shown []part
	for _, g := range groups {
		if g.sparse == sparse {
			for _, n := range d.threads(g.title) {
				shown = append(shown, part{g.title, n})
			}
		}
	}
	if len(shown) == 0 {
		return nil
	}
	rows := func(of map[part][]string) {
		for _, p := range shown {
			for _, r := range of[p] {
				say("%s", r)
			}
		}
		say("")
	}
	say("## %s\n", wantedTitle)
	say("| | threads | | wanted | measured | |\n|---|---|---|---|---|---|")
	rows(d.wanted)
	say("## %s\n", slowerTitle)
	say("The interval of the ratio ends below 1. What takes most of pitopt's time there is what is next.\n")
	say("| | threads | workload | rival | it takes | most of pitopt's time |\n|---|---|---|---|---|---|")
	rows(d.slower)
	title := ""
	for _, p := range shown {
		if p.title != title {
			title = p.title
			say("## %s\n", title)
		}
		say("%s\n", strings.TrimSpace(strings.Join(d.sections[p], "\n")))
	}
	return os.WriteFile(file, []byte(strings.TrimSpace(b.String())+"\n"), 0o666)
}
