// Package host runs plugins: executables with passes and operators, which speak the
// protocol of package protocol.
//
// A plugin's passes are ordinary passes; what happens behind them is this package's
// business alone. Whatever a plugin does wrong is one *diag.Error of code Plugin that
// names it, says what to do, and what the plugin last wrote to stderr. No process stays
// behind after Close.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/plugins/protocol"
)

// Config says what to run.
type Config struct {
	Name    string            // of the plugin in the pipeline: its passes are NAME/PASS
	Path    string            // of the executable; never looked up elsewhere
	SHA256  map[string]string // "GOOS/GOARCH" to hexadecimal digest; empty: anything runs
	Timeout time.Duration     // of the start and of each call; 0: DefaultTimeout
	Where   string            // place in the pipeline file, for messages
}

// DefaultTimeout is the time a plugin has for a call when nothing else is said.
const DefaultTimeout = 30 * time.Second

// Plugin is a plugin that runs.
type Plugin struct {
	cfg     Config
	title   string
	version string
	client  *goplugin.Client
	proc    *process
	dir     string // of its socket
	stderr  *tail
	rpc     protocol.PassesClient
	passes  []*pass.Pass
	ops     map[string]*ir.OpDef
	own     []*protocol.Operator
	foreign []*protocol.Operator
	lookup  func(string) *ir.OpDef

	mu         sync.Mutex
	configured *target.Target
}

// Open starts a plugin and asks it what it has.
func Open(ctx context.Context, cfg Config) (*Plugin, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	p := &Plugin{cfg: cfg, stderr: &tail{}, ops: map[string]*ir.OpDef{}}
	p.lookup = p.Lookup
	err := p.start(ctx)
	if err == nil {
		err = p.describe(ctx)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// OpenAll opens plugins, in order. Each knows the operators of all.
func OpenAll(ctx context.Context, list []Config) (plugins []*Plugin, err error) {
	defer func() {
		if err != nil {
			CloseAll(plugins)
			plugins = nil
		}
	}()
	ops := map[string]*ir.OpDef{}
	var messages []*protocol.Operator
	for _, cfg := range list {
		p, err := Open(ctx, cfg)
		if err != nil {
			return plugins, err
		}
		plugins = append(plugins, p)
		for name, op := range p.ops {
			if ops[name] != nil {
				return plugins, p.errorf("the operator %q is one of another plugin, too", name).Hint("leave one of the plugins out")
			}
			ops[name] = op
		}
		messages = append(messages, p.own...)
	}
	lookup := func(name string) *ir.OpDef {
		if op := ops[name]; op != nil {
			return op
		}
		return ir.Lookup(name)
	}
	for _, p := range plugins {
		p.lookup = lookup
		for _, m := range messages {
			if p.ops[m.GetName()] == nil {
				p.foreign = append(p.foreign, m)
			}
		}
	}
	return plugins, nil
}

// CloseAll closes plugins.
func CloseAll(list []*Plugin) {
	for _, p := range list {
		p.Close()
	}
}

// Passes are the plugin's passes, ready for a pass.Registry.
func (p *Plugin) Passes() []*pass.Pass { return p.passes }

// Ops are the plugin's operators by name.
func (p *Plugin) Ops() map[string]*ir.OpDef { return p.ops }

// Name is the name that the pipeline has for the plugin.
func (p *Plugin) Name() string { return p.cfg.Name }

// Title is what the plugin calls itself.
func (p *Plugin) Title() string { return p.title }

// Version is the version that the plugin says it has.
func (p *Plugin) Version() string { return p.version }

// Lookup finds an operator: one of the plugin, else a registered one.
func (p *Plugin) Lookup(name string) *ir.OpDef {
	if op := p.ops[name]; op != nil {
		return op
	}
	return ir.Lookup(name)
}

// Close ends the plugin and whatever it started.
func (p *Plugin) Close() {
	if p.client != nil {
		impatient := time.AfterFunc(grace, func() { _ = p.proc.Kill(context.Background()) }) // go-plugin waits for an answer as long as it takes
		p.client.Kill()
		impatient.Stop()
	}
	if p.proc != nil {
		_ = p.proc.Kill(context.Background())
	}
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// grace is the time a plugin has to end when it is told to.
const grace = time.Second

func (p *Plugin) errorf(format string, args ...any) *diag.Error {
	return diag.New(diag.Plugin, "plugin %q: "+format, append([]any{p.cfg.Name}, args...)...).In(p.cfg.Where)
}

// said adds what the plugin wrote last to an error.
func (p *Plugin) said(e *diag.Error) *diag.Error {
	p.proc.settled()
	if s := p.stderr.String(); s != "" {
		e.Detail = "the last that plugin " + strconv.Quote(p.cfg.Name) + " wrote:\n" + s
	}
	return e
}

func (p *Plugin) describe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	d, err := p.rpc.Describe(ctx, &protocol.DescribeRequest{})
	if err != nil {
		return p.callError(ctx, err, "Describe")
	}
	p.title, p.version = d.GetName(), d.GetVersion()
	for _, msg := range d.GetPasses() {
		made, err := protocol.PassOf(p.cfg.Name, d, msg)
		if err == nil {
			made.Run = func(c *pass.Context, m *ir.Module) error { return p.run(c, m, msg.GetName()) }
			_, err = pass.NewRegistry(append([]*pass.Pass{made}, p.passes...)...)
		}
		if err != nil {
			return p.errorf("%v", err).Hint("this is a mistake in the plugin")
		}
		p.passes = append(p.passes, made)
	}
	for _, msg := range d.GetOperators() {
		op, err := protocol.OperatorOf(msg)
		if err == nil && p.ops[op.Name] != nil {
			err = fmt.Errorf("operator %q is there twice", op.Name)
		}
		if err != nil {
			return p.errorf("%v", err).Hint("this is a mistake in the plugin")
		}
		p.ops[op.Name] = op
	}
	p.own = d.GetOperators()
	return nil
}

const report = "report this to its author, or take its passes out of the pipeline"

// callError says why a call failed that should not have.
func (p *Plugin) callError(ctx context.Context, err error, call string) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	switch {
	case ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded:
		_ = p.proc.Kill(context.Background())
		return p.said(p.errorf("no answer to %s within %v", call, p.cfg.Timeout).Hint("raise its timeout in the pipeline file, or report this to its author"))
	case status.Code(err) == codes.Unavailable:
		if state := p.proc.state(2 * time.Second); state != "" {
			return p.said(p.errorf("it died during %s (%s)", call, state).Hint(report))
		}
	}
	return p.said(p.errorf("%s failed: %s", call, status.Convert(err).Message()).Hint(report))
}

// run sends the module through one of the plugin's passes, and replaces it by what
// comes back when that is right.
func (p *Plugin) run(c *pass.Context, m *ir.Module, name string) error {
	ctx, cancel := context.WithTimeout(c, p.cfg.Timeout)
	defer cancel()
	if err := p.configure(ctx, c.Target); err != nil {
		return err
	}
	sent, err := protocol.Pack(m)
	if err != nil {
		return err
	}
	defer sent.Close()
	start := &protocol.Start{Pass: name, Options: map[string]*protocol.Value{}, Operators: p.foreign}
	for k, v := range c.Options {
		if start.Options[k], err = protocol.ValueMessage(v); err != nil {
			return p.errorf("option %s: %v", k, err)
		}
	}
	stream, err := p.rpc.Run(ctx)
	if err == nil {
		err = sent.Send(start, stream.Send)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil && !errors.Is(err, io.EOF) { // at EOF the plugin has ended the call, and says why
		return p.callError(ctx, err, "Run")
	}
	in, err := p.events(ctx, c, sent, stream)
	if err != nil {
		return err
	}
	got, err := in.Module(p.lookup)
	if err == nil {
		err = ir.Verify(got)
	}
	if err != nil {
		return p.wrong(fmt.Errorf("it gave back an invalid module: %v", err))
	}
	got.Ops = m.Ops // also those that no statement has
	*m = *got
	return nil
}

// wrong is the error of a plugin that breaks the protocol.
func (p *Plugin) wrong(err error) error {
	return p.said(p.errorf("%v", err).Hint(report))
}

func (p *Plugin) configure(ctx context.Context, t *target.Target) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t == nil {
		t = target.Interp()
	}
	if p.configured == t {
		return nil
	}
	msg := &protocol.Configuration{Target: &protocol.Target{Name: t.Name, Threads: uint32(t.Threads), BoundedResult: t.BoundedResult}}
	if _, err := p.rpc.Configure(ctx, msg); err != nil {
		return p.callError(ctx, err, "Configure")
	}
	p.configured = t
	return nil
}

// noteBytes bounds what a pass may tell the user in one run.
const noteBytes = 1 << 20

// events reads the stream of a run up to its end.
func (p *Plugin) events(ctx context.Context, c *pass.Context, sent *protocol.Sent, stream grpc.ServerStreamingClient[protocol.Event]) (in *protocol.Incoming, err error) {
	notes := 0
	for {
		e, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && in != nil:
			return in, nil
		case errors.Is(err, io.EOF):
			return nil, p.wrong(errors.New("it ended Run without a result"))
		case err != nil:
			return nil, p.callError(ctx, err, "Run")
		case in != nil:
			if err := in.Add(e); err != nil {
				return nil, p.wrong(err)
			}
			continue
		}
		switch k := e.GetKind().(type) {
		case nil: // of a newer protocol, and no matter if we miss it
		case *protocol.Event_Note:
			if notes += len(k.Note); notes > noteBytes {
				return nil, p.wrong(fmt.Errorf("its notes take more than %d bytes", noteBytes))
			}
			if c.Note != nil {
				c.Note("%s", k.Note)
			}
		case *protocol.Event_Failure:
			return nil, p.failure(k.Failure)
		case *protocol.Event_Result:
			if in, err = sent.Expect(k.Result); err != nil {
				return nil, p.wrong(err)
			}
		default:
			return nil, p.wrong(errors.New("it sent a chunk before its result"))
		}
	}
}

// failure is what a pass says when it cannot do its work: no fault of the plugin's,
// where it has a code.
func (p *Plugin) failure(f *protocol.Failure) error {
	code := diag.Code(f.GetCode())
	if code < diag.Run || code > diag.Malformed {
		code = diag.Plugin
	}
	e := diag.New(code, "plugin %q: %s", p.cfg.Name, f.GetMessage()).At(f.GetNode(), f.GetOp())
	if f.GetHint() != "" {
		e = e.Hint("%s", f.GetHint())
	}
	if code == diag.Plugin {
		e = p.said(e).In(p.cfg.Where)
	}
	return e.Hint(report)
}

// PID is the number of the plugin's process.
func (p *Plugin) PID() int { return p.proc.cmd.Process.Pid }
