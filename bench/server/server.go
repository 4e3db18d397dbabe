// Package server starts the server that a load test is to measure, and ends it.
package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"lectern/bench/workload"
	"lectern/netpoll/selfsigned"
)

const (
	readyLimit = 15 * time.Second // until a started server takes connections
	stopLimit  = 10 * time.Second // until it has ended after SIGTERM
	tailSize   = 4 << 10          // bytes of its output that are kept
)

// A Server is a process that [Start] started.
type Server struct {
	cmd    *exec.Cmd
	URL    string // where it listens; immutable
	CA     string // the certificate that was made for it, in PEM; immutable; empty without TLS
	folder string // of the certificate; immutable
	output *tail
	ended  chan struct{} // closed when it has exited
	err    error         // how it exited; set before ended is closed
}

// Start starts the command, {addr} in it standing for a free address on
// loopback, and waits until it takes connections. The URL is the given one at
// that address.
func Start(ctx context.Context, o workload.Options) (*Server, error) {
	command := o.ServerCommand
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		command = []string{
			self, "serve", "--addr", "{addr}", "--admin-addr", "",
			// All come from this machine's address.
			"--max-connections-per-address", "1000000", "--max-rooms-per-address", "10000",
		}
		if o.TLS {
			command = append(command, "--tls-cert", "{cert}", "--tls-key", "{key}")
		}
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	u.Host = addr
	s := &Server{output: new(tail), ended: make(chan struct{})}
	names := []string{"{addr}", addr}
	if o.TLS {
		u.Scheme = "wss"
		certificate, key, err := s.makeCertificate()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make a certificate: %w", err), os.RemoveAll(s.folder))
		}
		names = append(names, "{cert}", certificate, "{key}", key)
	}
	s.URL = u.String()
	args := make([]string, len(command))
	for i, a := range command {
		args[i] = strings.NewReplacer(names...).Replace(a)
	}
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Env = o.ServerEnvironment()
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	// The terminal's Ctrl-C is for the bench; it ends the server when it is done.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the server: %w", err), os.RemoveAll(s.folder))
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	if err := s.ready(ctx, addr); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// lifetime is how long a run's certificate is valid.
const lifetime = 48 * time.Hour

// makeCertificate makes a certificate for loopback and its key, and notes it as what the
// clients trust.
func (s *Server) makeCertificate() (certificate, key string, err error) {
	if s.folder, err = os.MkdirTemp("", "lectern-bench-"); err != nil {
		return "", "", err
	}
	pair, err := selfsigned.New(lifetime, selfsigned.Loopback()...)
	if err != nil {
		return "", "", err
	}
	s.CA = string(pair.Certificate)
	return pair.Write(s.folder)
}

// freeAddr returns an address on loopback that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// PID returns the id of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// ready waits until the server takes connections.
func (s *Server) ready(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, fmt.Errorf("the server takes no connections after %v", readyLimit))
	defer cancel()
	for {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.ended:
			return fmt.Errorf("the server ended before it was ready: %v\n%s", s.err, s.output)
		case <-ctx.Done():
			return fmt.Errorf("%w: %w\n%s", context.Cause(ctx), err, s.output)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server, and complains if it had ended before.
func (s *Server) Stop() error {
	defer os.RemoveAll(s.folder)
	select {
	case <-s.ended:
		return fmt.Errorf("it ended by itself: %v\n%s", s.err, s.output)
	default:
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopLimit, func() { _ = s.cmd.Process.Kill() })
	if <-s.ended; !kill.Stop() {
		return fmt.Errorf("it did not end within %v of SIGTERM and was killed", stopLimit)
	}
	return nil
}

// A tail keeps the last tailSize bytes that are written to it.
type tail struct {
	mu sync.Mutex
	b  []byte // guarded by mu
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if extra := len(t.b) - tailSize; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
