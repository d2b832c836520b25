package main

import (
	"context"
	"os"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pitopt/pitopt/plugins/protocol"
)

// raw are the faults that no plugin has which uses the SDK: what its pass "work" sends.
var raw = map[string]func(send func(*protocol.Event)){
	"empty": func(func(*protocol.Event)) {},
	"malformed": func(send func(*protocol.Event)) {
		send(result(7))
		send(&protocol.Event{Kind: &protocol.Event_Module{Module: []byte("rubbish")}})
	},
	"short": func(send func(*protocol.Event)) {
		send(result(7))
		send(&protocol.Event{Kind: &protocol.Event_Module{Module: []byte("rub")}})
	},
	"long": func(send func(*protocol.Event)) {
		send(result(3))
		send(&protocol.Event{Kind: &protocol.Event_Module{Module: []byte("rubbish")}})
	},
	"early":   func(send func(*protocol.Event)) { send(&protocol.Event{Kind: &protocol.Event_Module{}}) },
	"claim":   func(send func(*protocol.Event)) { send(result(1 << 50)) },
	"message": func(send func(*protocol.Event)) { send(note(make([]byte, 2*protocol.MessageBytes))) },
	"notes": func(send func(*protocol.Event)) {
		for {
			send(note(make([]byte, 100)))
		}
	},
	"nameless": nil,
}

func result(module int64) *protocol.Event {
	return &protocol.Event{Kind: &protocol.Event_Result{Result: &protocol.Result{ModuleBytes: module}}}
}

func note(b []byte) *protocol.Event {
	return &protocol.Event{Kind: &protocol.Event_Note{Note: string(b)}}
}

// serveRaw serves a pass that does not care for what it gets; one that is nil has no name.
func serveRaw(work func(send func(*protocol.Event))) {
	os.Stdout = stdout // package sdk is in this executable, too
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: protocol.Handshake,
		Plugins:         goplugin.PluginSet{protocol.ServiceName: &protocol.Service{Impl: rawServer{work: work}}},
		Logger:          hclog.NewNullLogger(),
		GRPCServer:      goplugin.DefaultGRPCServer,
	})
}

type rawServer struct {
	protocol.UnimplementedPassesServer
	work func(send func(*protocol.Event))
}

func (s rawServer) Describe(context.Context, *protocol.DescribeRequest) (*protocol.Description, error) {
	p := &protocol.Pass{Name: "work", Doc: "Does what the file name says."}
	if s.work == nil {
		p.Name = ""
	}
	return &protocol.Description{Name: "faulty", Version: "0.1", Passes: []*protocol.Pass{p}}, nil
}

func (s rawServer) Configure(context.Context, *protocol.Configuration) (*protocol.Configured, error) {
	return &protocol.Configured{}, nil
}

func (s rawServer) Run(stream grpc.BidiStreamingServer[protocol.Request, protocol.Event]) error {
	var failed error
	defer func() { _ = recover() }()
	s.work(func(e *protocol.Event) {
		if failed = stream.Send(e); failed != nil {
			panic(failed)
		}
	})
	return failed
}
