// Package host runs plugins: executables with passes and operators, which speak the
// protocol of package protocol.
//
// A plugin's passes are ordinary passes; what happens behind them is this package's
// business alone. Whatever a plugin does wrong is one *diag.Error of code Plugin that
// names it, says what it last wrote to stderr, and what to do. No process stays behind
// after Close.
package host

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
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

// Version is what the plugin says of itself, "NAME VERSION".
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
		p.client.Kill()
	}
	if p.proc != nil {
		_ = p.proc.Kill(context.Background())
	}
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

func (p *Plugin) errorf(format string, args ...any) *diag.Error {
	return diag.New(diag.Plugin, "plugin %q: "+format, append([]any{p.cfg.Name}, args...)...).In(p.cfg.Where)
}

// settle is how long what a plugin wrote to stderr may take to arrive after its answer,
// which comes by another way.
const settle = 50 * time.Millisecond

// said adds what the plugin wrote last to an error.
func (p *Plugin) said(e *diag.Error) *diag.Error {
	p.proc.state(settle)
	if s := p.stderr.String(); s != "" {
		e.Msg += "; the last it wrote:\n" + s + "\n"
	}
	return e
}

// command makes the command that starts the plugin, after checking what can be checked
// without starting it.
func (p *Plugin) command() (cmd *exec.Cmd, copied io.Closer, err error) {
	path := p.cfg.Path
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, p.errorf("there is no file %s", path).Hint("build the plugin, or correct its path")
	case err != nil:
		return nil, nil, p.errorf("%v", err).Hint("correct its path")
	case !st.Mode().IsRegular():
		return nil, nil, p.errorf("%s is no file", path).Hint("the path must be that of an executable")
	case runtime.GOOS != "windows" && st.Mode()&0o111 == 0:
		return nil, nil, p.errorf("%s is not executable", path).Hint("chmod +x %s", path)
	}
	if len(p.cfg.SHA256) == 0 {
		return exec.Command(path), io.NopCloser(nil), nil
	}
	cmd, digest, copied, err := pinned(path)
	if err != nil {
		return nil, nil, p.errorf("%v", err)
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	switch want, ok := p.cfg.SHA256[platform]; {
	case !ok:
		err = p.errorf("it is pinned, and there is no sha256 for %s", platform).Hint("if you trust %s, add %q = %q", path, platform, digest)
	case want != digest:
		err = p.errorf("the sha256 of %s is %s, the pipeline wants %s", path, digest, want).Hint("get the right executable, or correct the pin if you trust this one")
	default:
		return cmd, copied, nil
	}
	_ = copied.Close()
	return nil, nil, err
}

func (p *Plugin) start(ctx context.Context) error {
	cmd, copied, err := p.command()
	if err != nil {
		return err
	}
	defer copied.Close()
	cmd.Env = environment()
	if p.proc, err = newProcess(cmd); err != nil {
		return p.errorf("%v", err)
	}
	defer context.AfterFunc(ctx, func() { _ = p.proc.Kill(ctx) })()
	if p.dir, err = os.MkdirTemp("", "pitopt-plugin"); err != nil {
		return p.errorf("%v", err)
	}
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake,
		Plugins:          goplugin.PluginSet{protocol.ServiceName: &protocol.Service{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     p.cfg.Timeout,
		Logger:           hclog.NewNullLogger(),
		Stderr:           p.stderr,
		SyncStdout:       p.stderr,
		SyncStderr:       p.stderr,
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(protocol.MaxMessage), grpc.MaxCallSendMsgSize(protocol.MaxMessage))},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			cmd.Env = append(cmd.Env, spec.Env...)
			return p.proc, nil
		},
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: p.dir},
	})
	conn, err := p.client.Client()
	if ctx.Err() != nil {
		return diag.New(diag.Interrupted, "interrupted: %v", ctx.Err())
	}
	if err != nil {
		return p.startError(err)
	}
	raw, err := conn.Dispense(protocol.ServiceName)
	if err != nil {
		return p.startError(err)
	}
	p.rpc = raw.(protocol.PassesClient)
	return nil
}

var otherVersion = regexp.MustCompile(`Plugin version: (\d+)`)

// startError says in our words why go-plugin gave up on a plugin.
func (p *Plugin) startError(err error) error {
	if v := otherVersion.FindStringSubmatch(err.Error()); v != nil {
		hint := "build the plugin with a newer pitopt"
		if len(v[1]) > 1 || v[1][0]-'0' > protocol.Version {
			hint = "use a newer pitopt, or an older version of the plugin"
		}
		return p.errorf("it speaks version %s of the plugin protocol, this pitopt speaks version %d", v[1], protocol.Version).Hint("%s", hint)
	}
	if p.proc.ID() == "" {
		return p.errorf("cannot be started: %v", err).Hint("check that %s is an executable for %s/%s", p.cfg.Path, runtime.GOOS, runtime.GOARCH)
	}
	state := p.proc.state(time.Second)
	switch {
	case regexp.MustCompile(`(?i)unrecognized remote plugin message: \S`).MatchString(err.Error()):
		return p.said(p.errorf("its first line on stdout is no handshake: %.200q", regexp.MustCompile(`(?i)^.*message: `).ReplaceAllString(err.Error(), ""))).
			Hint("it must call sdk.Serve and print nothing on stdout before")
	case regexp.MustCompile(`timeout`).MatchString(err.Error()):
		return p.said(p.errorf("it did not say within %v that it is ready", p.cfg.Timeout)).Hint("check that %s is a plugin of pitopt, or raise its timeout", p.cfg.Path)
	case state != "":
		return p.said(p.errorf("it ended at its start (%s)", state)).Hint("check that %s is a plugin of pitopt, and what it needs", p.cfg.Path)
	}
	return p.said(p.errorf("cannot be started: %v", err)).Hint("check that %s is a plugin of pitopt", p.cfg.Path)
}

func (p *Plugin) describe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	d, err := p.rpc.Describe(ctx, &protocol.DescribeRequest{})
	if err != nil {
		return p.callError(ctx, err, "Describe")
	}
	p.version = d.GetName() + " " + d.GetVersion()
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
		if err != nil {
			return p.errorf("%v", err).Hint("this is a mistake in the plugin")
		}
		p.ops[op.Name] = op
	}
	p.own = d.GetOperators()
	return nil
}

// callError says why a call failed that should not have.
func (p *Plugin) callError(ctx context.Context, err error, call string) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	switch {
	case ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded:
		_ = p.proc.Kill(context.Background())
		return p.said(p.errorf("no answer to %s within %v", call, p.cfg.Timeout)).Hint("raise its timeout in the pipeline file, or report this to its author")
	case status.Code(err) == codes.Unavailable:
		if state := p.proc.state(2 * time.Second); state != "" {
			return p.said(p.errorf("it died during %s (%s)", call, state)).Hint("report this to its author, or take its passes out of the pipeline")
		}
	}
	return p.said(p.errorf("%s failed: %s", call, status.Convert(err).Message())).Hint("report this to its author, or take its passes out of the pipeline")
}

// run sends the module through one of the plugin's passes, and replaces it by what
// comes back when that is right.
func (p *Plugin) run(c *pass.Context, m *ir.Module, name string) error {
	ctx, cancel := context.WithTimeout(c, p.cfg.Timeout)
	defer cancel()
	if err := p.configure(ctx, c.Target); err != nil {
		return err
	}
	sent, err := protocol.Send(m)
	if err != nil {
		return err
	}
	defer sent.Close()
	req := &protocol.RunRequest{Pass: name, Options: map[string]*protocol.Value{}, Module: sent.Module, Arena: sent.Arena, Operators: p.foreign}
	for k, v := range c.Options {
		if req.Options[k], err = protocol.ValueMessage(v); err != nil {
			return p.errorf("option %s: %v", k, err)
		}
	}
	stream, err := p.rpc.Run(ctx, req)
	if err != nil {
		return p.callError(ctx, err, "Run")
	}
	result, chunks, err := p.events(ctx, c, stream)
	if err != nil {
		return err
	}
	got, err := sent.Receive(result, chunks, p.lookup)
	if err == nil {
		err = ir.Verify(got)
	}
	if err != nil {
		return p.said(p.errorf("it gave back an invalid module: %v", err)).Hint("report this to its author, or take the pass out of the pipeline")
	}
	got.Ops = m.Ops // also those that no statement has
	*m = *got
	return nil
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

// events reads the stream of a run up to its end.
func (p *Plugin) events(ctx context.Context, c *pass.Context, stream grpc.ServerStreamingClient[protocol.Event]) (*protocol.Result, []byte, error) {
	var chunks []byte
	var result *protocol.Result
	for {
		e, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && result != nil:
			return result, chunks, nil
		case errors.Is(err, io.EOF):
			return nil, nil, p.said(p.errorf("it ended Run without a result")).Hint("report this to its author")
		case err != nil:
			return nil, nil, p.callError(ctx, err, "Run")
		case result != nil:
			return nil, nil, p.errorf("it sent more after its result").Hint("report this to its author")
		}
		switch k := e.GetKind().(type) {
		case *protocol.Event_Note:
			if c.Note != nil {
				c.Note("%s", k.Note)
			}
		case *protocol.Event_Chunk:
			if chunks, err = protocol.AddChunk(chunks, k.Chunk); err != nil {
				return nil, nil, p.errorf("%v", err).Hint("report this to its author")
			}
		case *protocol.Event_Result:
			result = k.Result
		case *protocol.Event_Failure:
			return nil, nil, p.failure(k.Failure)
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
	e := diag.New(code, "plugin %q: %s", p.cfg.Name, f.GetMessage())
	if code == diag.Plugin {
		e = p.said(e)
	}
	e = e.At(f.GetNode(), f.GetOp())
	if f.GetHint() != "" {
		e = e.Hint("%s", f.GetHint())
	}
	return e.Hint("report this to the author of the plugin, or take the pass out of the pipeline")
}

// PID is the number of the plugin's process.
func (p *Plugin) PID() int { return p.proc.cmd.Process.Pid }
