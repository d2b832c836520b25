// Package passes reads pipeline files: TOML that says which passes run, in which order
// and with which options, and what is known of a model's dims and values beforehand.
//
// Parse reads and checks a file on its own. Assemble joins it with a registry of passes
// into the steps that a pass manager runs. Format writes it in its canonical form.
package passes

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pitopt/pitopt/core/diag"
)

// File is a pipeline file, checked as far as that is possible without knowing the passes.
type File struct {
	Name    string // path; relative paths in the file start from its folder
	Version int
	Extends string // "default", or "" for a file that lists all of its passes
	Target  Target
	Dims    map[string]Dim
	Inputs  map[string]Input
	Match   []Match
	State   []State
	Plugins []Plugin
	Rewrite []Rewrite
	Passes  []PassEntry // as they are written: Assemble applies them to what the file extends

	extends string // place of the extends key
}

// Target says where a module runs and what it may use. What a file leaves out is as in
// the default pipeline.
type Target struct {
	Device  string // one of Devices
	Memory  int64  // bytes that a run may use; 0: no limit
	Threads int    // 0: all that the machine has
}

// Devices are the names that a target may have.
var Devices = []string{"auto", "cpu", "cuda", "cuda-emu", "interp"}

// Dim is what is known of a symbolic dim: Min <= dim <= Max, and Multiple divides it.
// Where nothing is said, Min is 0, Max is sym.Inf, and Multiple is 1.
type Dim struct {
	Min, Max, Multiple int64
	Where              string // FILE:LINE:COL of the entry
}

// Input is what is known of an input's values.
type Input struct {
	Padding bool   // the input is a mask: rows it masks are "don't care" in the outputs
	Where   string // FILE:LINE:COL of the entry
}

// Match asserts that a value of the model has a type, in the text form of types. It is
// checked at run time and known afterwards.
type Match struct {
	Value, Type string
	Where       string // FILE:LINE:COL of the entry
}

// State is a value that a session keeps from one call to the next: the output Out comes
// back as the input In. It grows along the dim Axis of the input, up to Capacity; where
// Axis is "", it does not grow.
type State struct {
	In, Out, Axis string
	Capacity      int64
	Where         string // FILE:LINE:COL of the entry
}

// Plugin is an executable that has passes.
type Plugin struct {
	Name    string
	Path    string            // as it is written; PluginPath says where that is
	SHA256  map[string]string // "GOOS/GOARCH" to 64 lower-case hexadecimal digits
	Timeout time.Duration     // of one call
	Where   string            // FILE:LINE:COL of the entry
}

// Rewrite is a file of rules for the pass raise: patterns, and what takes their place, in the
// text form of modules.
type Rewrite struct {
	File  string // as it is written; RewritePath says where that is
	Where string // FILE:LINE:COL of the entry
}

// PassEntry is one [[pass]].
type PassEntry struct {
	Name          string // of a pass, with "#2" the second one of that name in the pipeline
	Remove        bool
	After, Before string // the pass beside which it is put in; at most one is set
	Check         string // "each", "none", or "" when the entry does not say
	Options       map[string]Value
	Where         string // FILE:LINE:COL of the name

	beside string // place of what After or Before says
}

// Value is the value of a pass's option. What it means is for the option's kind to say.
type Value struct {
	Any        any    // bool, int64, float64, string or []string
	Key, Where string // FILE:LINE:COL of the option's name and of its value
}

//go:embed default.toml
var defaultTOML []byte

// DefaultTOML is the text of the built-in pipeline.
func DefaultTOML() []byte { return append([]byte(nil), defaultTOML...) }

// Default is the built-in pipeline.
func Default() *File {
	f, err := Parse("built-in pipeline", defaultTOML)
	if err != nil {
		panic(fmt.Sprintf("passes: %v", err)) // a mistake in default.toml, seen by any test
	}
	return f
}

// maxFile bounds a pipeline file, in bytes. It bounds what reading one costs, too: every
// structure that is built grows with the file and not faster.
const maxFile = 1 << 20

// Read reads and checks the pipeline file at path. Errors are *diag.Error.
func Read(path string) (*File, error) {
	src, err := readFile(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the path is there already
		}
		return nil, diag.New(diag.Pipeline, "cannot read the pipeline: %v", err).In(path).Hint("check the path")
	}
	return Parse(path, src)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1)) // one more, for Parse to complain about
}

// Parse reads and checks a pipeline file from its text; name is its path, for messages
// and for paths relative to it. Errors are *diag.Error with FILE:LINE:COL.
func Parse(name string, src []byte) (*File, error) {
	doc, err := parseTOML(name, src)
	if err != nil {
		return nil, err
	}
	return checkFile(doc)
}

// PluginPath is where the executable of a plugin is, in a form that is never looked up in
// the folders where a shell finds its commands.
func (f *File) PluginPath(p Plugin) string {
	path := p.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(f.Name), path)
	}
	if !strings.ContainsRune(path, filepath.Separator) {
		path = "." + string(filepath.Separator) + path
	}
	return path
}

// RewritePath is where a file of rules is.
func (f *File) RewritePath(r Rewrite) string {
	if filepath.IsAbs(r.File) {
		return r.File
	}
	return filepath.Join(filepath.Dir(f.Name), r.File)
}

// Masks are the inputs that are masks, of which padded rows do not matter.
func (f *File) Masks() []string {
	var out []string
	for name, in := range f.Inputs {
		if in.Padding {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
