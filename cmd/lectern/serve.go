package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"lectern/hub"
	"lectern/netpoll"
)

// serveCommand holds the relay's options. A number or time of zero means the
// default that the help tells, but for the drain timeout: zero waits for nobody.
type serveCommand struct {
	Addr      string `default:"127.0.0.1:8765" help:"Address to listen on, for WebSockets and plain HTTP."`
	AdminAddr string `default:"127.0.0.1:8766" help:"Address for /metrics and /health; empty for none."`
	Pprof     bool   `help:"Serve /debug/pprof on the admin address."`
	Echo      string `placeholder:"PATH" help:"Serve an echo at this path, for WebSocket conformance suites."`
	Workers   int    `default:"0" help:"Threads that own connections; 0 for one per processor."`

	LogFormat string     `enum:"text,json" default:"text" help:"Format of the log: text or json."`
	LogLevel  slog.Level `default:"info" help:"Least important level to log: debug, info, warn or error."`

	MaxConnections   int `default:"0" help:"WebSocket connections at once; 0 for as many as descriptors allow."`
	MaxRooms         int `default:"10000" help:"Rooms at once."`
	MaxHead          int `default:"8192" help:"Bytes of a request's head."`
	MaxHostMessage   int `default:"1048576" help:"Bytes of a host's message. One over 16 times this ends the connection."`
	MaxViewerMessage int `default:"16384" help:"Bytes of anybody else's message. One over 16 times this ends the connection."`
	MaxPrivate       int `default:"65536" help:"Bytes of answers that may wait for one connection before it is not read from any more."`
	LagLimit         int `default:"4194304" help:"Bytes of broadcasts that a viewer may fall behind; at least twice --max-host-message."`

	HandshakeTimeout time.Duration `default:"10s" help:"For a request's whole head."`
	CloseTimeout     time.Duration `default:"5s" help:"For a closing connection to drain and to answer."`
	StallTimeout     time.Duration `default:"30s" help:"Without taking a byte that was due."`
	PingAfter        time.Duration `default:"25s" help:"Silence in either direction before a ping."`
	IdleTimeout      time.Duration `default:"60s" help:"Without a sign of life before a connection is closed."`
	HistoryTimeout   time.Duration `default:"5s" help:"For a host to answer a request for the history."`
	HistoryEvery     time.Duration `default:"10s" help:"Between two requests of one viewer for the history."`
	DrainTimeout     time.Duration `default:"10s" help:"For all connections to close when the relay ends."`

	NotSentLowat int           `default:"16384" help:"Bytes that the kernel keeps for a socket beyond what is in flight (TCP_NOTSENT_LOWAT)."`
	SendBuffer   int           `default:"0" help:"SO_SNDBUF of each connection in bytes; 0 for the kernel's own tuning."`
	UserTimeout  time.Duration `default:"60s" help:"For a peer to acknowledge what was sent (TCP_USER_TIMEOUT)."`
	KeepAlive    time.Duration `default:"45s" help:"Silence before the kernel probes a peer (TCP_KEEPIDLE)."`
}

// Run serves until a signal, then drains. A second signal ends it at once.
func (c *serveCommand) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := c.logger(os.Stderr)
	r, err := newRelay(c, log)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, stop) // from now on a signal has its ordinary effect
	return r.run(ctx)
}

func (c *serveCommand) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// Validate refuses what makes no sense. kong calls it.
func (c *serveCommand) Validate() error {
	numbers := map[string]int{
		"workers": c.Workers, "max-connections": c.MaxConnections, "max-rooms": c.MaxRooms, "max-head": c.MaxHead,
		"max-host-message": c.MaxHostMessage, "max-viewer-message": c.MaxViewerMessage, "max-private": c.MaxPrivate,
		"lag-limit": c.LagLimit, "not-sent-lowat": c.NotSentLowat, "send-buffer": c.SendBuffer,
	}
	for name, n := range numbers {
		if n < 0 || n > 1<<30 {
			return fmt.Errorf("--%s must be between 0 and %d, not %d", name, 1<<30, n)
		}
	}
	waits := map[string]time.Duration{
		"handshake-timeout": c.HandshakeTimeout, "close-timeout": c.CloseTimeout, "stall-timeout": c.StallTimeout,
		"ping-after": c.PingAfter, "idle-timeout": c.IdleTimeout, "history-timeout": c.HistoryTimeout,
		"history-every": c.HistoryEvery, "drain-timeout": c.DrainTimeout, "user-timeout": c.UserTimeout, "keep-alive": c.KeepAlive,
	}
	for name, d := range waits {
		if d < 0 || d > 24*time.Hour {
			return fmt.Errorf("--%s must be between 0 and 24h, not %s", name, d)
		}
	}
	if c.Echo != "" && c.Echo[0] != '/' {
		return fmt.Errorf("--echo must be a path that begins with a slash, not %q", c.Echo)
	}
	return nil
}

func (c *serveCommand) hubConfig() hub.Config {
	return hub.Config{
		MaxConnections:   c.MaxConnections,
		MaxRooms:         c.MaxRooms,
		MaxHead:          c.MaxHead,
		MaxHostMessage:   c.MaxHostMessage,
		MaxViewerMessage: c.MaxViewerMessage,
		MaxPrivate:       c.MaxPrivate,
		LagLimit:         c.LagLimit,
		HandshakeTimeout: c.HandshakeTimeout,
		CloseTimeout:     c.CloseTimeout,
		StallTimeout:     c.StallTimeout,
		PingAfter:        c.PingAfter,
		IdleTimeout:      c.IdleTimeout,
		HistoryTimeout:   c.HistoryTimeout,
		HistoryEvery:     c.HistoryEvery,
		EchoPath:         c.Echo,
	}
}

func (c *serveCommand) socketOptions() netpoll.SocketOptions {
	return netpoll.SocketOptions{
		NotSentLowat: c.NotSentLowat,
		SendBuffer:   c.SendBuffer,
		UserTimeout:  c.UserTimeout,
		KeepAlive:    c.KeepAlive,
	}
}
