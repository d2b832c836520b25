// Package protocol is what the two sides of the plugin protocol share: the generated
// messages and service of pass.proto, the handshake, and the conversions between
// messages and the compiler's own types.
package protocol

import (
	"context"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// Version is the version of the protocol; a host and a plugin must have the same.
const Version = 1

// ServiceName is the name that go-plugin dispenses the service under.
const ServiceName = "pitopt.pass.v1"

// Handshake tells a plugin of pitopt from other executables. It is no secret.
var Handshake = goplugin.HandshakeConfig{
	ProtocolVersion:  Version,
	MagicCookieKey:   "PITOPT_PLUGIN",
	MagicCookieValue: "pitopt.pass.v1",
}

// Service makes the gRPC service known to go-plugin. A plugin sets Impl; a host leaves
// it nil and dispenses a PassesClient.
type Service struct {
	goplugin.NetRPCUnsupportedPlugin
	Impl PassesServer
}

// GRPCServer registers the service in a plugin.
func (s *Service) GRPCServer(_ *goplugin.GRPCBroker, g *grpc.Server) error {
	RegisterPassesServer(g, s.Impl)
	return nil
}

// GRPCClient gives the host its client.
func (s *Service) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return NewPassesClient(c), nil
}
