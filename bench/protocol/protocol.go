// Package protocol is what the driver and its workers say to each other: one request a line on
// the worker's stdin, one answer a line on its stdout, both JSON. A worker is a process with one
// engine (pitopt, ONNX Runtime, ...), so that engines share neither threads nor memory.
package protocol

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Request asks for one thing, by Op:
//
//	load     reads the model at Path; it is called Model from then on
//	inputs   reads the inputs of Model named in Files (NPY), called Set from then on
//	run      runs Model on Set, and on each of More in turn: Warm times that are not timed, then N that are
//	write    writes the results of the last run of Model on Set to Dir as 0.npy, 1.npy, ...
//	session  begins to decode with Model: States are carried from call to call, and empty at first
//	decode   makes N calls in the session, a token each
//	memory   tells what memory the process had at most, and has
//	limits   tells what the machine can do, measured for about N ms
//	drop     forgets Model
type Request struct {
	Op      string            `json:"op"`
	Model   string            `json:"model,omitempty"`
	Path    string            `json:"path,omitempty"`
	Set     string            `json:"set,omitempty"`
	More    []string          `json:"more,omitempty"`
	Files   map[string]string `json:"files,omitempty"`
	Warm    int               `json:"warm,omitempty"`
	N       int               `json:"n,omitempty"`
	Dir     string            `json:"dir,omitempty"`
	Session *Session          `json:"session,omitempty"`
}

// Session says how to decode: Token is the input of a call, [1, 1] i64, and Mask its mask of all
// words so far, [1, past+1] i64, of ones. States grow along Axis up to Capacity.
type Session struct {
	Token    string      `json:"token"`
	Mask     string      `json:"mask"`
	Axis     string      `json:"axis"`
	Capacity int         `json:"capacity"`
	States   [][2]string `json:"states"` // input, output
	Heads    int         `json:"heads"`
	Features int         `json:"features"`
}

// Answer is what came of a request. Times are nanoseconds, sizes bytes.
type Answer struct {
	Error     string  `json:"error,omitempty"`
	NS        int64   `json:"ns,omitempty"`     // of all timed runs or calls together; of the loading
	Engine    string  `json:"engine,omitempty"` // name and version: the answer of a worker that is ready
	Peak      int64   `json:"peak,omitempty"`
	Resident  int64   `json:"resident,omitempty"`
	Outputs   int     `json:"outputs,omitempty"`
	Flops     float64 `json:"flops,omitempty"`     // a second
	Bandwidth float64 `json:"bandwidth,omitempty"` // bytes a second
}

// Serve says that a worker is ready, and answers requests by do until there are no more.
func Serve(in io.Reader, out io.Writer, engine string, do func(*Request) (Answer, error)) error {
	say := json.NewEncoder(out)
	if err := say.Encode(Answer{Engine: engine}); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var r Request
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("a request is no JSON: %w", err)
		}
		a, err := do(&r)
		if err != nil {
			a.Error = err.Error()
		}
		if err := say.Encode(a); err != nil {
			return err
		}
	}
}
