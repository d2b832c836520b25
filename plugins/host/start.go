package host

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/plugins/protocol"
)

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

func (p *Plugin) start(outer context.Context) error {
	cmd, copied, err := p.command()
	if err != nil {
		return err
	}
	defer copied.Close()
	cmd.Env = environment()
	if p.proc, err = newProcess(cmd, p.stderr); err != nil {
		return p.errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(outer, p.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = p.proc.Kill(ctx) })()
	if p.dir, err = socketDir(); err != nil {
		return p.errorf("%v", err)
	}
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  protocol.Handshake,
		Plugins:          goplugin.PluginSet{protocol.ServiceName: &protocol.Service{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		StartTimeout:     p.cfg.Timeout + linger, // ctx ends before
		Logger:           hclog.NewNullLogger(),
		Stderr:           p.stderr,
		SyncStdout:       p.stderr,
		SyncStderr:       p.stderr,
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(protocol.MessageBytes))},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			cmd.Env = append(cmd.Env, spec.Env...)
			return p.proc, nil
		},
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: p.dir},
	})
	conn, err := p.client.Client()
	var raw any
	if err == nil {
		raw, err = conn.Dispense(protocol.ServiceName)
	}
	switch {
	case outer.Err() != nil:
		return diag.New(diag.Interrupted, "interrupted: %v", outer.Err())
	case ctx.Err() != nil:
		return p.said(p.errorf("it did not say within %v that it is ready", p.cfg.Timeout).
			Hint("check that %s is a plugin of pitopt, or raise its timeout", p.cfg.Path))
	case err != nil:
		return p.startError(err)
	}
	p.rpc = raw.(protocol.PassesClient)
	return nil
}

// socketDir makes the folder of the plugin's socket. The whole path of a socket has about
// a hundred bytes on every system, and temporary folders may have longer names.
func socketDir() (string, error) {
	const most = 103 - len("/plugin-dir4294967295/plugin4294967295") // what go-plugin adds
	dir, err := os.MkdirTemp("", "pitopt")
	if err != nil || len(dir) <= most || runtime.GOOS == "windows" {
		return dir, err
	}
	if err := os.Remove(dir); err != nil {
		return "", err
	}
	return os.MkdirTemp("/tmp", "pitopt")
}

// startError says why a plugin did not start. Its first line should have been
// go-plugin's handshake: "CORE|VERSION|NETWORK|ADDRESS|...".
func (p *Plugin) startError(err error) error {
	if p.proc.ID() == "" {
		return p.errorf("cannot be started: %v", err).Hint("check that %s is an executable for %s/%s", p.cfg.Path, runtime.GOOS, runtime.GOARCH)
	}
	state := p.proc.state(linger)
	line := p.proc.firstLine()
	fields := strings.Split(line, "|")
	switch {
	case line == "":
		return p.said(p.errorf("it ended at its start (%s)", state).Hint("check that %s is a plugin of pitopt, and what it needs", p.cfg.Path))
	case len(fields) < 4 || fields[0] != strconv.Itoa(goplugin.CoreProtocolVersion):
		return p.said(p.errorf("its first line on stdout is no handshake: %.200q", strings.TrimSpace(line)).
			Hint("it must call sdk.Serve and print nothing on stdout before"))
	}
	if v, err := strconv.Atoi(fields[1]); err == nil && v != protocol.Version {
		hint := "build the plugin with a newer pitopt"
		if v > protocol.Version {
			hint = "use a newer pitopt, or an older version of the plugin"
		}
		return p.errorf("it speaks version %d of the plugin protocol, this pitopt speaks version %d", v, protocol.Version).Hint("%s", hint)
	}
	return p.said(p.errorf("no connection to it: %v", err).Hint("check that %s is a plugin of pitopt", p.cfg.Path))
}
