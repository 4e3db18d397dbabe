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
// those with the tag zero. Any other must be within the tag bounds, both included.
// Those with the tag restart are read at the start only.
type options struct {
	Config string `restart:"" placeholder:"FILE" group:"file" help:"TOML file with options, by their names here."`

	Addr      string `restart:"" default:"127.0.0.1:8765" group:"listen" help:"Address to listen on, for WebSockets and plain HTTP."`
	AdminAddr string `restart:"" default:"127.0.0.1:8766" group:"listen" help:"Address for /metrics and /health; empty for none."`
	Pprof     bool   `restart:"" group:"listen" help:"Serve /debug/pprof on the admin address."`
	Echo      string `restart:"" placeholder:"PATH" group:"listen" help:"Serve an echo at this path, for WebSocket conformance suites."`
	Workers   int    `restart:"" default:"0" zero:"" bounds:"1..256" group:"listen" help:"Threads that own connections; 0 for one per processor."`

	Data      string        `restart:"" placeholder:"DIR" group:"data" help:"Directory that keeps rooms and their broadcasts, so that they survive a restart; none, and they are in memory only."`
	DataEvery time.Duration `restart:"" default:"100ms" bounds:"1ms..1h" group:"data" help:"Between two writes: what is said meanwhile is lost when the process is killed."`

	Codes string `restart:"" enum:"base32,hex6" default:"base32" group:"access" help:"Form of the rooms' codes: base32 (K7QM-2XHD), or hex6 (A1B2C3), which can be guessed, so that 20 wrong codes a minute shut out an address."`

	CreateKeyFile string        `placeholder:"FILE" group:"access" help:"File with the key that who creates a room must give; none, and everybody may."`
	APIKeyFile    string        `placeholder:"FILE" group:"access" help:"File with the key of the HTTP API; none, and the API is off."`
	AllowOrigin   []webOrigin   `placeholder:"ORIGIN" group:"access" help:"Origin whose pages may connect, like https://example.org, besides the relay's own; * for all. May be given again."`
	AdminHost     []adminHost   `placeholder:"NAME" group:"access" help:"Name that the admin address answers to as Host, besides IP addresses and localhost. May be given again."`
	Dev           bool          `group:"access" help:"Let pages of every origin connect: for a relay that is being tried out, like --allow-origin '*'."`
	TrustedProxy  []trustedPeer `placeholder:"NETWORK" group:"access" help:"Address or CIDR of a proxy whose X-Forwarded-For is believed. May be given again."`

	Memory memorySize `restart:"" default:"auto" group:"limits" help:"Memory that the relay may use, like 512MB; auto for three quarters of what the control group or the machine has."`

	MaxConnections   int `default:"20000" zero:"" bounds:"1..10000000" group:"limits" help:"WebSocket connections at once; 0 for as many as descriptors allow."`
	MaxHandshaking   int `default:"15000" bounds:"1..10000000" group:"limits" help:"Connections at once that are not yet WebSockets; newcomers take the places of those that do not finish."`
	MaxHTTP          int `name:"max-http" default:"256" bounds:"1..16384" group:"limits" help:"Plain HTTP connections at once on the relay's own port."`
	MaxRooms         int `default:"10000" bounds:"1..1000000" group:"limits" help:"Rooms at once."`
	MaxViewers       int `default:"20000" bounds:"1..10000000" group:"limits" help:"Viewers of one room at once."`
	MaxHead          int `default:"8192" bounds:"256..65536" group:"limits" help:"Bytes of a request's head."`
	MaxHostMessage   int `default:"1048576" bounds:"256..67108864" group:"limits" help:"Bytes of a host's message. One over 16 times this ends the connection."`
	MaxViewerMessage int `default:"16384" bounds:"256..67108864" group:"limits" help:"Bytes of anybody else's message. One over 16 times this ends the connection."`
	MaxName          int `default:"64" bounds:"1..1024" group:"limits" help:"Characters of a viewer's or a room's name."`
	HostRate         int `default:"0" zero:"" bounds:"1..1000000" group:"limits" help:"Broadcasts a second from a host; 0 for any number."`
	HostRequestRate  int `default:"1000" bounds:"1..1000000" group:"limits" help:"Other messages a second from a host."`
	ViewerRate       int `default:"10" bounds:"1..1000000" group:"limits" help:"Messages a second from anybody else."`
	MaxPrivate       int `default:"65536" bounds:"1024..67108864" group:"limits" help:"Bytes of answers that may wait for one connection before it is not read from any more."`
	LagLimit         int `default:"4194304" bounds:"1024..1073741824" group:"limits" help:"Bytes of broadcasts that a viewer may fall behind; at least twice --max-host-message."`

	MaxConnectionsPerAddress int `default:"0" zero:"" bounds:"1..10000000" group:"limits" help:"WebSocket connections at once from one address, or /64 of IPv6; 0 for half of --max-connections, and for 3000 at least."`
	MaxRoomsPerAddress       int `default:"200" bounds:"1..1000000" group:"limits" help:"Rooms at once that were created from one address, or /64 of IPv6."`

	Retain         int           `default:"262144" bounds:"1024..1073741824" group:"record" help:"Bytes of broadcasts that a room keeps, for viewers that come back and for the history."`
	RetainMessages int           `default:"10000" bounds:"1..10000000" group:"record" help:"Broadcasts that a room keeps."`
	RetainAge      time.Duration `default:"2h" bounds:"1s..24h" group:"record" help:"For a room to keep a broadcast."`
	RetainTotal    int           `default:"268435456" bounds:"65536..1099511627776" group:"record" help:"Bytes that all rooms may keep together before each is held to its share."`

	HostGrace        time.Duration `default:"60s" zero:"" bounds:"100ms..24h" group:"times" help:"For a room to wait for its host to come back; 0 to close it at once."`
	RoomIdle         time.Duration `default:"10m" bounds:"100ms..24h" group:"times" help:"For a room made over HTTP to wait for its first host."`
	HandshakeTimeout time.Duration `default:"10s" bounds:"100ms..10m" group:"times" help:"For a request's whole head."`
	CloseTimeout     time.Duration `default:"5s" bounds:"100ms..10m" group:"times" help:"For a closing connection to drain and to answer."`
	StallTimeout     time.Duration `default:"30s" bounds:"1s..1h" group:"times" help:"Without taking a byte that was due."`
	PingAfter        time.Duration `default:"25s" bounds:"100ms..1h" group:"times" help:"Silence in either direction before a ping."`
	IdleTimeout      time.Duration `default:"60s" bounds:"200ms..2h" group:"times" help:"Without a sign of life before a connection is closed."`
	HistoryTimeout   time.Duration `default:"5s" bounds:"100ms..10m" group:"times" help:"For a host to answer a request for the history."`
	HistoryEvery     time.Duration `default:"10s" bounds:"100ms..24h" group:"times" help:"Between two requests on one connection for the history."`
	HistoryTake      time.Duration `default:"60s" bounds:"1s..1h" group:"times" help:"For a viewer to take the history that it asked for."`
	MessageTimeout   time.Duration `default:"60s" bounds:"100ms..1h" group:"times" help:"For a message to come whole."`
	DrainTimeout     time.Duration `default:"0s" zero:"" bounds:"1ms..24h" group:"times" help:"For all connections to close when the relay ends; 0 for 10s or, if that is more, 100us for each connection; 1ms to wait for nobody."`
	ShutdownDelay    time.Duration `default:"0s" zero:"" bounds:"1ms..1h" group:"times" help:"For /health/ready to be 503, so that load balancers notice, before a relay that is told to end begins to drain."`

	NotSentLowat int           `restart:"" default:"16384" bounds:"1024..67108864" group:"sockets" help:"Bytes that the kernel keeps for a socket beyond what is in flight (TCP_NOTSENT_LOWAT)."`
	SendBuffer   int           `restart:"" default:"0" zero:"" bounds:"4096..268435456" group:"sockets" help:"SO_SNDBUF of each connection in bytes; 0 for the kernel's own tuning."`
	UserTimeout  time.Duration `restart:"" default:"60s" bounds:"1s..1h" group:"sockets" help:"For a peer to acknowledge what was sent (TCP_USER_TIMEOUT)."`
	KeepAlive    time.Duration `restart:"" default:"45s" bounds:"1s..32767s" group:"sockets" help:"Silence before the kernel probes a peer (TCP_KEEPIDLE)."`

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

		MaxConnectionsPerAddress: s.MaxConnectionsPerAddress,
		MaxRoomsPerAddress:       s.MaxRoomsPerAddress,
		HexCodes:                 s.Codes == "hex6",
	}
	if config.HostGrace == 0 {
		config.HostGrace = -1 // the hub's zero means its default
	}
	for _, origin := range s.AllowOrigin {
		config.AllowOrigins = append(config.AllowOrigins, string(origin))
	}
	if s.Dev {
		config.AllowOrigins = append(config.AllowOrigins, "*")
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
