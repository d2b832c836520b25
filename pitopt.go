// Package pitopt compiles and runs ONNX models whose shapes and sparsity are known only
// at run time.
//
//	m, err := pitopt.Load("model.onnx")
//	if err != nil { ... }
//	defer m.Close()
//	out, err := m.Run(ctx, map[string]*tensor.Tensor{"x": tensor.Of(data, 2, 3)})
//
// A model is safe for concurrent use. Inputs are read where they lie, without a copy, and
// must stay as they are until the run ends; results are the caller's alone.
package pitopt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"sync"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/reuse"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// Model is a model that is compiled and ready to run.
type Model struct {
	path   string
	file   source
	target string
	opts   options
	own    runtime.Device // of the target; nil for interp
	device runtime.Device // own, as it is used
	code   string         // what the device says of its code
	calls  reuse.List[call]
	compiled
	face *ir.Func // parameters and results, where those of the module are not: it is compiled for sessions

	mu     sync.RWMutex // held while the model runs: a file that is unmapped then ends the program
	closed bool

	carriedMu sync.Mutex
	carried   map[string]*compiled // for sessions, by the states that they carry
}

// around is what a device is used through.
var around = func(d runtime.Device) runtime.Device { return d }

// compiled is what a pipeline made of the model.
type compiled struct {
	module *ir.Module
	notes  []onnx.Note
	exec   *runtime.Executable // nil on the target interp
}

// Option configures Load.
type Option func(*options)

type options struct {
	pipeline *passes.File
	path     string
	target   string
	threads  int
	seed     uint64
	registry *pass.Registry
	ctx      context.Context
	observe  Observer
	dynamic  func(*wire.Model)
	memory   int64 // bytes; below 0: as the pipeline says
	sessions bool
	graph    bool
	trace    func(s *ir.Stmt, results []tensor.Value)
	watch    func(cpu.Use)
}

// Pipeline compiles with the pipeline of a TOML file instead of the default one.
func Pipeline(path string) Option { return func(o *options) { o.path = path } }

// WithPipeline compiles with a pipeline that was read already.
func WithPipeline(f *passes.File) Option { return func(o *options) { o.pipeline = f } }

// Target overrides the pipeline's device: "auto", "cpu", "interp", and where the binary is built with them "cuda"
// and "cuda-emu".
func Target(name string) Option { return func(o *options) { o.target = name } }

// Threads overrides the number of threads; 0 takes all processors.
func Threads(n int) Option { return func(o *options) { o.threads = n } }

// Memory overrides the budget of a run in bytes; 0 is none.
func Memory(n int64) Option { return func(o *options) { o.memory = n } }

// Seed seeds random operators that have no seed of their own.
func Seed(n uint64) Option { return func(o *options) { o.seed = n } }

// Passes are the passes that a pipeline may name; without it those built in.
func Passes(r *pass.Registry) Option { return func(o *options) { o.registry = r } }

// WithContext lets ctx stop a long compilation.
func WithContext(ctx context.Context) Option { return func(o *options) { o.ctx = ctx } }

// GraphLevel leaves out the first pass of the pipeline that lowers (pass.Pass.Lowers) and
// all that stand behind it, so that ONNX can say what the module computes.
func GraphLevel() Option { return func(o *options) { o.graph = true } }

// ForSessions compiles the model with the states of the pipeline, for sessions alone: they need no
// compilation of their own, and Observe, Module, Memory and Storages tell of what they run. Run
// gives an error then. Where the pipeline has no states, the option changes nothing.
func ForSessions() Option { return func(o *options) { o.sessions = true } }

// Observer is told what happens while a model is compiled. Nil fields are not called; an
// error ends the compilation.
type Observer struct {
	Steps    func(steps, leftOut []pass.Step) error // before the model is imported
	Imported func(m *ir.Module, took time.Duration) error
	Before   func(i int, s pass.Step, m *ir.Module) error
	After    func(i int, s pass.Step, m *ir.Module, took time.Duration) error
	Note     func(pass, msg string)
}

// Observe calls o while the model is compiled.
func Observe(o Observer) Option { return func(x *options) { x.observe = o } }

// Trace has f called after each statement of a run with its results, nil for those that
// nobody asked for. What is in them is f's until it returns; runs at the same time call it at
// the same time.
func Trace(f func(s *ir.Stmt, results []tensor.Value)) Option {
	return func(o *options) { o.trace = f }
}

// WatchCode has f told of each call of machine code on the target cpu (cpu.Device.Watch). The model then takes
// one run at a time.
func WatchCode(f func(cpu.Use)) Option { return func(o *options) { o.watch = f } }

// EditModel lets f change the decoded model before it is imported. A module in the text
// form has none.
func EditModel(f func(*wire.Model)) Option { return func(o *options) { o.dynamic = f } }

// Load reads a model, compiles it with the pipeline, and readies it to run. The pipeline
// is that of the options, else pipeline.toml beside the model or in the working folder,
// else the built-in one. A file whose name ends in .pit is a module in the text form.
func Load(path string, opts ...Option) (*Model, error) {
	f, err := openSource(path)
	if err != nil {
		return nil, err
	}
	return load(f, opts)
}

// LoadBytes is Load of a model in memory, which must not be changed while the model is
// used.
func LoadBytes(name string, data []byte, opts ...Option) (*Model, error) {
	f, err := wire.FromBytes(name, data, wire.Limits{})
	if err != nil {
		return nil, err
	}
	return load(source{path: name, onnx: f}, opts)
}

func load(f source, list []Option) (m *Model, err error) {
	var device runtime.Device
	defer func() {
		if err != nil {
			if device != nil {
				_ = device.Close()
			}
			_ = f.Close()
		}
	}()
	if m, err = newModel(f, list); err != nil {
		return nil, err
	}
	if m.own, m.target, err = OpenDevice(m.opts.target, m.opts.pipeline.Target.Device, m.opts.threads); err != nil {
		return nil, err
	}
	if m.own != nil {
		device = m.own
		if d, ok := m.own.(interface{ Code() (string, error) }); ok {
			if m.code, err = d.Code(); err != nil {
				return nil, err
			}
		}
		device = around(m.own)
		m.device = device
	}
	if d, ok := m.own.(*cpu.Device); ok && m.opts.watch != nil {
		d.Watch(m.opts.watch)
	}
	m.edit()
	var states []Carried
	if m.opts.sessions {
		states = m.states()
	}
	m.compiled, err = m.compile(m.opts.ctx, m.opts.observe, states)
	return m, err
}

// compile runs the pipeline over the model. States are those that a session carries.
func (m *Model) compile(ctx context.Context, observe Observer, states []Carried) (c compiled, err error) {
	plugins, err := OpenPlugins(ctx, m.opts.pipeline)
	if err != nil {
		return c, err
	}
	defer plugins.Close()
	registry, err := plugins.Registry(m.opts.registry)
	if err != nil {
		return c, err
	}
	steps, err := m.opts.pipeline.Assemble(registry)
	if err != nil {
		return c, err
	}
	room := makeRoom()
	defer goruntime.KeepAlive(room)
	carry(steps, states)
	tell(steps, builtin.RemovePadding, "masks", m.opts.pipeline.Masks())
	if err := addRules(steps, m.opts.pipeline, plugins); err != nil {
		return c, err
	}
	steps, leftOut := m.opts.level(steps)
	if observe.Steps != nil {
		if err := observe.Steps(steps, leftOut); err != nil {
			return c, err
		}
	}
	start := time.Now()
	if c, err = m.read(plugins); err != nil {
		return c, err
	}
	if len(m.opts.pipeline.Rewrite) > 0 {
		bring(c.module, plugins)
	}
	if u := onnx.Unsupported(c.module); len(u) > 0 {
		return c, diag.As(unsupported(u), diag.Unsupported).In(m.path)
	}
	mg := &pass.Manager{Before: observe.Before, After: observe.After, Note: observe.Note}
	if err := mg.Verifier.Verify(c.module); err != nil {
		return c, diag.As(err, diag.Verifier).In(m.path).During("import")
	}
	if observe.Imported != nil {
		if err := observe.Imported(c.module, time.Since(start)); err != nil {
			return c, err
		}
	}
	if m.opts.sessions && len(states) > 0 && m.face == nil {
		m.face = faceOf(c.module.Main())
	}
	if mg.Target = target.Interp(); m.device != nil {
		mg.Target = m.device.Target()
	}
	if err := mg.Run(ctx, c.module, steps); err != nil {
		return c, diag.As(err, diag.Run).In(m.path)
	}
	if m.device != nil {
		c.exec, err = runtime.Load(c.module, m.device, runtime.Options{MaxBytes: m.opts.memory, Seed: m.opts.seed, Trace: m.opts.trace})
	}
	return c, err
}

// faceOf keeps the parameters and results of a function that passes will change.
func faceOf(f *ir.Func) *ir.Func {
	out := &ir.Func{Name: f.Name}
	for i, p := range f.Params {
		out.Params = append(out.Params, &ir.Value{Name: p.Name, Type: p.Type, Index: i})
	}
	for i, r := range f.Results {
		out.Results = append(out.Results, &ir.Value{Name: r.Name, Type: r.Type, Index: i})
		out.ResultNames = append(out.ResultNames, f.ResultName(i))
	}
	return out
}

// main is the function whose parameters and results are the model's.
func (m *Model) main() *ir.Func {
	if m.face != nil {
		return m.face
	}
	return m.module.Main()
}

// Import reads a model as Load does, with what the pipeline knows of it and the operators
// of its plugins, and runs no pass. The reference interpreter runs it as it stands: what
// it computes is what every pass must keep. Operators that are not there are no error
// before they run.
func Import(path string, opts ...Option) (m *Model, err error) {
	f, err := openSource(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if m, err = newModel(f, opts); err != nil {
		return nil, err
	}
	m.target = "interp"
	plugins, err := OpenPlugins(m.opts.ctx, m.opts.pipeline)
	if err != nil {
		return nil, err
	}
	defer plugins.Close()
	m.edit()
	m.compiled, err = m.read(plugins)
	return m, err
}

// newModel is a model with its options complete, before anything of it is read.
func newModel(f source, list []Option) (*Model, error) {
	o := options{ctx: context.Background(), threads: -1, memory: -1}
	for _, opt := range list {
		opt(&o)
	}
	if o.registry == nil {
		o.registry = builtin.Registry()
	}
	if o.pipeline == nil {
		var err error
		if o.pipeline, err = FindPipeline(o.path, f.path); err != nil {
			return nil, err
		}
	}
	if o.threads < 0 {
		o.threads = o.pipeline.Target.Threads
	}
	if o.memory < 0 {
		o.memory = o.pipeline.Target.Memory
	}
	return &Model{path: f.path, file: f, opts: o}, nil
}

// edit lets the option EditModel change the decoded model.
func (m *Model) edit() {
	if m.opts.dynamic != nil && m.file.onnx != nil {
		m.opts.dynamic(m.file.onnx.Model)
	}
}

// read imports the model, and tells it what the pipeline knows.
func (m *Model) read(plugins Plugins) (c compiled, err error) {
	if c.module, c.notes, err = m.file.module(plugins.ops()); err != nil {
		return c, err
	}
	return c, applyKnowledge(c.module, m.opts.pipeline)
}

// level splits a pipeline where the graph's level ends, if it is to end there.
func (o *options) level(steps []pass.Step) (run, leftOut []pass.Step) {
	i := slices.IndexFunc(steps, func(s pass.Step) bool { return s.Pass.Lowers })
	if !o.graph || i < 0 {
		return steps, nil
	}
	return steps[:i], steps[i:]
}

// unsupported is one error for all operators that are not there.
func unsupported(list []*ir.Stmt) error {
	e := diag.As(ir.UnsupportedError(list[0]), diag.Unsupported)
	seen := []string{}
	for _, s := range list[1:] {
		if name := fmt.Sprintf("%s %d", s.Op.Name, s.Op.Since[0]); s.Op != list[0].Op && !slices.Contains(seen, name) && s.Op.Name != list[0].Op.Name {
			seen = append(seen, name)
		}
	}
	if len(seen) > 0 {
		e.Msg += fmt.Sprintf(" (and %d more kinds: %v)", len(seen), seen)
	}
	return e
}

// FindPipeline reads the pipeline at path; where that is empty, pipeline.toml beside
// the model or in the working folder; where there is none, the built-in one.
func FindPipeline(path, model string) (*passes.File, error) {
	if path != "" {
		return passes.Read(path)
	}
	for _, dir := range []string{filepath.Dir(model), "."} {
		name := filepath.Join(dir, "pipeline.toml")
		if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() {
			return passes.Read(name)
		}
	}
	return passes.Default(), nil
}

// Close gives the model's file and memory back, when the runs that go on have ended. What
// they gave stays valid; the constants of Module do not. It may be called again.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	if m.exec != nil {
		m.exec.Trim()
	}
	if m.device != nil {
		_ = m.device.Close()
	}
	return m.file.Close()
}

// Value is an input or output of a model.
type Value struct {
	Name string
	Type ir.Type // dims are numbers or symbols
}

// Inputs are the model's inputs in its order.
func (m *Model) Inputs() []Value {
	var out []Value
	for _, p := range m.main().Params {
		out = append(out, Value{p.Name, p.Type})
	}
	return out
}

// Outputs are the model's outputs in its order.
func (m *Model) Outputs() []Value {
	f := m.main()
	var out []Value
	for i, r := range f.Results {
		out = append(out, Value{f.ResultName(i), r.Type})
	}
	return out
}

// Module is the compiled module. It must not be changed.
func (m *Model) Module() *ir.Module { return m.module }

// TargetName is the device that the model runs on.
func (m *Model) TargetName() string { return m.target }

// Code says what runs go on: the level of the processor that there is machine code for, portable Go, and
// why where the system refuses, a device, or the reference interpreter.
func (m *Model) Code() string {
	if m.code == "" {
		return "the reference interpreter"
	}
	return m.code
}

// Threads is how many threads work on a run.
func (m *Model) Threads() int {
	if m.device == nil {
		return 1
	}
	return m.device.Target().Threads
}

// Division tells what the model's device computed and what it left to the host, where it is one that does so.
func (m *Model) Division() (w runtime.Division, ok bool) {
	if d, ok := m.own.(runtime.Divided); ok {
		return d.Division(), true
	}
	return w, false
}

// PTX are the kernels that runs have called, each as a module of PTX, in the order in which they were compiled; false
// where the model's device runs none.
func (m *Model) PTX() ([]string, bool) {
	if d, ok := m.own.(interface{ PTX() []string }); ok {
		return d.PTX(), true
	}
	return nil, false
}

// Notes are things about the model that its user should know.
func (m *Model) Notes() []onnx.Note { return m.notes }
