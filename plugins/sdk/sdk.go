// Package sdk makes an executable a plugin of pitopt. A plugin's main function is
//
//	sdk.Serve(sdk.Plugin{Name: "acme", Version: "1.0", Passes: []*pass.Pass{stripDropout}})
//
// with passes written as those that are built in, against core/ir and core/pass. The
// pipeline file then names the executable, and its passes as "acme/strip-dropout".
//
// Importing the package makes os.Stdout the same as os.Stderr, since the handshake is on
// the real one.
package sdk

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op" // the operators that modules have
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/plugins/protocol"
)

// The real ones: stdout is for the handshake, and stderr for all that is printed.
var stdout, stderr = os.Stdout, os.Stderr

func init() { os.Stdout = os.Stderr }

// Plugin is what an executable offers.
type Plugin struct {
	Name, Version string
	Passes        []*pass.Pass // their names are without the name of the plugin
	Ops           []Op
}

// Op is an operator: its operands and results are the parameters and results of a
// tensor program, which says what it computes. A dim of a parameter that is a symbol
// takes the size that the operand has.
type Op struct {
	Name    string // DOMAIN.NAME, as models have it
	Doc     string
	Program string // in the textual form
}

// Serve speaks the protocol until the host ends it. It does not return when the
// executable was not started by a host: it says so and exits.
func Serve(p Plugin) {
	s, err := newServer(p)
	if err != nil {
		fmt.Fprintf(os.Stderr, "plugin %s: %v\n", p.Name, err)
		os.Exit(1)
	}
	os.Stdout = stdout // go-plugin prints the handshake there, and then redirects it itself
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: protocol.Handshake,
		Plugins:         goplugin.PluginSet{protocol.ServiceName: &protocol.Service{Impl: s}},
		Logger:          hclog.NewNullLogger(),
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}

type server struct {
	protocol.UnimplementedPassesServer
	description *protocol.Description
	passes      map[string]*pass.Pass
	ops         map[string]*ir.OpDef

	mu     sync.Mutex
	target *target.Target
}

func newServer(p Plugin) (*server, error) {
	s := &server{description: &protocol.Description{Name: p.Name, Version: p.Version}, passes: map[string]*pass.Pass{}, ops: map[string]*ir.OpDef{}, target: target.Interp()}
	if _, err := pass.NewRegistry(p.Passes...); err != nil {
		return nil, err
	}
	for _, x := range p.Passes {
		msg, err := protocol.PassMessage(x)
		if err == nil {
			_, err = protocol.PassOf(p.Name, s.description, msg) // the host will do that
		}
		if err != nil {
			return nil, err
		}
		s.description.Passes = append(s.description.Passes, msg)
		s.passes[x.Name] = x
	}
	for _, x := range p.Ops {
		msg := &protocol.Operator{Name: x.Name, Doc: x.Doc, Program: x.Program}
		op, err := protocol.OperatorOf(msg)
		if err != nil {
			return nil, err
		}
		if s.ops[op.Name] != nil {
			return nil, fmt.Errorf("operator %q is there twice", op.Name)
		}
		s.description.Operators = append(s.description.Operators, msg)
		s.ops[op.Name] = op
	}
	return s, nil
}

// Describe says what the plugin has.
func (s *server) Describe(context.Context, *protocol.DescribeRequest) (*protocol.Description, error) {
	// go-plugin has put pipes in their place by now, which lose what is in them when the
	// process dies. This is the first call, and nothing of the plugin's runs yet.
	os.Stdout, os.Stderr = stderr, stderr
	return s.description, nil
}

// Configure keeps the target for the runs that follow.
func (s *server) Configure(_ context.Context, c *protocol.Configuration) (*protocol.Configured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.GetTarget()
	s.target = &target.Target{Name: t.GetName(), Threads: int(t.GetThreads()), BoundedResult: t.GetBoundedResult()}
	return &protocol.Configured{}, nil
}

// Run runs a pass and sends the module back.
func (s *server) Run(stream grpc.BidiStreamingServer[protocol.Request, protocol.Event]) error {
	start, module, err := protocol.ReadRequest(stream.Recv)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	p := s.passes[start.GetPass()]
	if p == nil {
		return status.Errorf(codes.NotFound, "there is no pass %q", start.GetPass())
	}
	lookup, err := s.lookup(start.GetOperators())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	in, err := protocol.Unpack(start, module, lookup)
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "reading the module: %v", err)
	}
	defer in.Close()
	s.mu.Lock()
	c := &pass.Context{Context: stream.Context(), Target: s.target, Options: map[string]any{}}
	s.mu.Unlock()
	c.Note = func(format string, args ...any) {
		_ = stream.Send(&protocol.Event{Kind: &protocol.Event_Note{Note: fmt.Sprintf(format, args...)}}) // a broken stream shows at the result
	}
	for _, o := range p.Options {
		if c.Options[o.Name], err = protocol.ValueOf(o, start.GetOptions()[o.Name]); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
	}
	answer, err := run(p, c, in)
	if err != nil {
		e := diag.As(err, diag.Plugin)
		return stream.Send(&protocol.Event{Kind: &protocol.Event_Failure{Failure: &protocol.Failure{
			Code: int32(e.Code), Node: e.Node, Op: e.Op, Message: e.Msg, Hint: e.Way}}})
	}
	return answer.Send(stream.Send)
}

// run runs a pass; a panic in it, or in writing what it left, is an error, with the
// stack on stderr.
func run(p *pass.Pass, c *pass.Context, in *protocol.Received) (a *protocol.Answer, err error) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "panic: %v\n%s\n", r, trace())
			err = fmt.Errorf("the pass panicked: %v", r)
		}
	}()
	if err := p.Run(c, in.Module); err != nil {
		return nil, err
	}
	if a, err = in.Answer(); err != nil {
		return nil, fmt.Errorf("the pass left an invalid module: %v", err)
	}
	return a, nil
}

// trace is the part of the stack between run and the panic.
func trace() string {
	stack, _, _ := strings.Cut(string(debug.Stack()), "\ngithub.com/pitopt/pitopt/plugins/sdk.run(")
	if _, after, ok := strings.Cut(stack, "\npanic("); ok {
		_, after, _ = strings.Cut(after, "\n") // the rest of that line, and the line of its place
		_, stack, _ = strings.Cut(after, "\n")
	}
	return stack
}

// lookup finds the plugin's operators, those of other plugins that the request brings,
// and those that are built in.
func (s *server) lookup(foreign []*protocol.Operator) (func(string) *ir.OpDef, error) {
	ops := map[string]*ir.OpDef{}
	for _, msg := range foreign {
		op, err := protocol.OperatorOf(msg)
		if err != nil {
			return nil, err
		}
		ops[op.Name] = op
	}
	return func(name string) *ir.OpDef {
		if op := s.ops[name]; op != nil {
			return op
		}
		if op := ops[name]; op != nil {
			return op
		}
		return ir.Lookup(name)
	}, nil
}
