package main

import (
	"context"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"lectern/hub"
	"lectern/netpoll"
)

type serveCommand struct{ options }

// Run serves until a signal, then drains. A second signal ends it at once.
// SIGHUP reads the configuration again.
func (c *serveCommand) Run(line *commandLine) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	running, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	environ := os.Environ()
	s, err := settle(line, &c.options, environ)
	if err != nil {
		return err
	}
	r, err := newRelay(s, os.Stderr)
	if err != nil {
		return err
	}
	context.AfterFunc(running, stop) // from now on a signal has its ordinary effect

	again := func() (*settings, error) { return readSettings(line.args, environ) }
	var following sync.WaitGroup
	following.Go(func() { r.follow(running, hangups, again) })
	err = r.run(running)
	stop()
	following.Wait()
	return err
}

// options are the relay's. A number or time of zero means the default, but for
// those with the tag zero. Those with the tag restart are read at the start only.
type options struct {
	Config string `restart:"" placeholder:"FILE" group:"file" help:"TOML file with options, by their names here."`

	Addr      string `restart:"" default:"127.0.0.1:8765" group:"listen" help:"Address to listen on, for WebSockets and plain HTTP."`
	AdminAddr string `restart:"" default:"127.0.0.1:8766" group:"listen" help:"Address for /metrics and /health; empty for none."`
	Pprof     bool   `restart:"" group:"listen" help:"Serve /debug/pprof on the admin address."`
	Echo      string `restart:"" placeholder:"PATH" group:"listen" help:"Serve an echo at this path, for WebSocket conformance suites."`
	Workers   int    `restart:"" default:"0" zero:"" group:"listen" help:"Threads that own connections; 0 for one per processor."`

	Data      string        `restart:"" placeholder:"DIR" group:"data" help:"Directory that keeps rooms and their broadcasts, so that they survive a restart; none, and they are in memory only."`
	DataEvery time.Duration `restart:"" default:"100ms" group:"data" help:"Between two writes: what is said meanwhile is lost when the process is killed."`

	CreateKeyFile string        `placeholder:"FILE" group:"access" help:"File with the key that who creates a room must give; none, and everybody may."`
	APIKeyFile    string        `placeholder:"FILE" group:"access" help:"File with the key of the HTTP API; none, and the API is off."`
	AllowOrigin   []webOrigin   `placeholder:"ORIGIN" group:"access" help:"Origin whose pages may connect, like https://example.org, besides the relay's own; * for all. May be given again."`
	TrustedProxy  []trustedPeer `placeholder:"NETWORK" group:"access" help:"Address or CIDR of a proxy whose X-Forwarded-For is believed. May be given again."`

	Memory memorySize `restart:"" default:"auto" group:"limits" help:"Memory that the relay may use, like 512MB; auto for three quarters of what the control group or the machine has."`

	MaxConnections   int `default:"20000" zero:"" group:"limits" help:"WebSocket connections at once; 0 for as many as descriptors allow."`
	MaxHandshaking   int `default:"15000" group:"limits" help:"Connections at once that are not yet WebSockets; newcomers take the places of those that do not finish."`
	MaxRooms         int `default:"10000" group:"limits" help:"Rooms at once."`
	MaxViewers       int `default:"20000" group:"limits" help:"Viewers of one room at once."`
	MaxHead          int `default:"8192" group:"limits" help:"Bytes of a request's head."`
	MaxHostMessage   int `default:"1048576" group:"limits" help:"Bytes of a host's message. One over 16 times this ends the connection."`
	MaxViewerMessage int `default:"16384" group:"limits" help:"Bytes of anybody else's message. One over 16 times this ends the connection."`
	MaxName          int `default:"64" group:"limits" help:"Characters of a viewer's or a room's name."`
	HostRate         int `default:"0" zero:"" group:"limits" help:"Broadcasts a second from a host; 0 for any number."`
	HostRequestRate  int `default:"1000" group:"limits" help:"Other messages a second from a host."`
	ViewerRate       int `default:"10" group:"limits" help:"Messages a second from anybody else."`
	MaxPrivate       int `default:"65536" group:"limits" help:"Bytes of answers that may wait for one connection before it is not read from any more."`
	LagLimit         int `default:"4194304" group:"limits" help:"Bytes of broadcasts that a viewer may fall behind; at least twice --max-host-message."`

	Retain         int           `default:"262144" group:"record" help:"Bytes of broadcasts that a room keeps, for viewers that come back and for the history."`
	RetainMessages int           `default:"10000" group:"record" help:"Broadcasts that a room keeps."`
	RetainAge      time.Duration `default:"2h" group:"record" help:"For a room to keep a broadcast."`
	RetainTotal    int           `default:"268435456" group:"record" help:"Bytes that all rooms may keep together before each is held to its share."`

	HostGrace        time.Duration `default:"60s" zero:"" group:"times" help:"For a room to wait for its host to come back; 0 to close it at once."`
	RoomIdle         time.Duration `default:"10m" group:"times" help:"For a room made over HTTP to wait for its first host."`
	HandshakeTimeout time.Duration `default:"10s" group:"times" help:"For a request's whole head."`
	CloseTimeout     time.Duration `default:"5s" group:"times" help:"For a closing connection to drain and to answer."`
	StallTimeout     time.Duration `default:"30s" group:"times" help:"Without taking a byte that was due."`
	PingAfter        time.Duration `default:"25s" group:"times" help:"Silence in either direction before a ping."`
	IdleTimeout      time.Duration `default:"60s" group:"times" help:"Without a sign of life before a connection is closed."`
	HistoryTimeout   time.Duration `default:"5s" group:"times" help:"For a host to answer a request for the history."`
	HistoryEvery     time.Duration `default:"10s" group:"times" help:"Between two requests on one connection for the history."`
	HistoryTake      time.Duration `default:"60s" group:"times" help:"For a viewer to take the history that it asked for."`
	MessageTimeout   time.Duration `default:"60s" group:"times" help:"For a message to come whole."`
	DrainTimeout     time.Duration `default:"10s" zero:"" group:"times" help:"For all connections to close when the relay ends; 0 to wait for nobody."`

	NotSentLowat int           `restart:"" default:"16384" group:"sockets" help:"Bytes that the kernel keeps for a socket beyond what is in flight (TCP_NOTSENT_LOWAT)."`
	SendBuffer   int           `restart:"" default:"0" zero:"" group:"sockets" help:"SO_SNDBUF of each connection in bytes; 0 for the kernel's own tuning."`
	UserTimeout  time.Duration `restart:"" default:"60s" group:"sockets" help:"For a peer to acknowledge what was sent (TCP_USER_TIMEOUT)."`
	KeepAlive    time.Duration `restart:"" default:"45s" group:"sockets" help:"Silence before the kernel probes a peer (TCP_KEEPIDLE)."`

	LogFormat string   `restart:"" enum:"text,json" default:"text" group:"log" help:"Format of the log: text or json."`
	LogLevel  logLevel `default:"info" group:"log" help:"Least important level to log: debug, info, warn or error."`
}

// hubConfig returns the hub's part of the settings.
func (s *settings) hubConfig() hub.Config {
	config := hub.Config{
		MaxConnections:   s.MaxConnections,
		MaxHandshaking:   s.MaxHandshaking,
		MaxRooms:         s.MaxRooms,
		MaxViewers:       s.MaxViewers,
		MaxHead:          s.MaxHead,
		MaxHostMessage:   s.MaxHostMessage,
		MaxViewerMessage: s.MaxViewerMessage,
		HostRate:         s.HostRate,
		HostRequestRate:  s.HostRequestRate,
		ViewerRate:       s.ViewerRate,
		MaxName:          s.MaxName,
		MaxPrivate:       s.MaxPrivate,
		LagLimit:         s.LagLimit,
		Retain:           s.Retain,
		RetainMessages:   s.RetainMessages,
		RetainAge:        s.RetainAge,
		RetainTotal:      s.RetainTotal,
		HostGrace:        s.HostGrace,
		RoomIdle:         s.RoomIdle,
		HandshakeTimeout: s.HandshakeTimeout,
		CloseTimeout:     s.CloseTimeout,
		StallTimeout:     s.StallTimeout,
		PingAfter:        s.PingAfter,
		IdleTimeout:      s.IdleTimeout,
		HistoryTimeout:   s.HistoryTimeout,
		HistoryEvery:     s.HistoryEvery,
		HistoryTake:      s.HistoryTake,
		MessageTimeout:   s.MessageTimeout,
		CreateKey:        s.createKey.value.reveal(),
		EchoPath:         s.Echo,
	}
	if config.HostGrace == 0 {
		config.HostGrace = -1 // the hub's zero means its default
	}
	for _, origin := range s.AllowOrigin {
		config.AllowOrigins = append(config.AllowOrigins, string(origin))
	}
	for _, peer := range s.TrustedProxy {
		config.TrustedProxies = append(config.TrustedProxies, netip.Prefix(peer))
	}
	return config
}

func (o *options) socketOptions() netpoll.SocketOptions {
	return netpoll.SocketOptions{
		NotSentLowat: o.NotSentLowat,
		SendBuffer:   o.SendBuffer,
		UserTimeout:  o.UserTimeout,
		KeepAlive:    o.KeepAlive,
	}
}
