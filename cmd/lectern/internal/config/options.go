package config

import "time"

// Options are the relay's. A number or time of zero means the default, but for
// those with the tag zero. Any other must be within the tag bounds, both included.
// Those with the tag restart are read at the start only.
type Options struct {
	Config string `restart:"" placeholder:"FILE" group:"file" help:"TOML file with options, by their names here."`

	Addr       string   `restart:"" default:"127.0.0.1:8765" group:"listen" help:"Address to listen on, for WebSockets and plain HTTP; unix:/PATH for a Unix-domain socket."`
	AdminAddr  string   `restart:"" default:"127.0.0.1:8766" group:"listen" help:"Address for /metrics and /health, or unix:/PATH; empty for none."`
	SocketMode FileMode `restart:"" default:"0660" group:"listen" help:"Mode of the file of a Unix-domain socket."`
	Pprof      bool     `restart:"" group:"listen" help:"Serve /debug/pprof on the admin address."`
	Echo       string   `restart:"" placeholder:"PATH" group:"listen" help:"Serve an echo at this path, for WebSocket conformance suites."`
	Workers    int      `restart:"" default:"0" zero:"" bounds:"1..256" group:"listen" help:"Threads that own connections; 0 for one per processor."`

	TLSCert      string     `name:"tls-cert" restart:"" placeholder:"FILE" group:"tls" help:"PEM file with the certificate and its intermediate ones. --addr speaks TLS then. Read again when it changes."`
	TLSKey       string     `name:"tls-key" restart:"" placeholder:"FILE" group:"tls" help:"PEM file with the private key of --tls-cert."`
	Domain       []Hostname `restart:"" placeholder:"NAME" group:"tls" help:"Domain name for which the relay gets a certificate from a CA. --addr is :443 and speaks TLS then. May be repeated."`
	ACMECA       string     `name:"acme-ca" restart:"" placeholder:"URL" group:"tls" help:"ACME directory of the CA; Let's Encrypt if it is not set."`
	ACMECARoot   string     `name:"acme-ca-root" restart:"" placeholder:"FILE" group:"tls" help:"PEM file with the CA that signs the ACME server's own certificate, for a CA of your own."`
	ACMEEmail    string     `name:"acme-email" restart:"" placeholder:"ADDRESS" group:"tls" help:"Where the CA may write to about your certificates."`
	RedirectAddr string     `restart:"" placeholder:"ADDRESS" group:"tls" help:"Address of plain HTTP that answers the CA and redirects to https; :80 with --domain, otherwise none."`
	KTLS         string     `name:"ktls" restart:"" enum:"auto,off" default:"auto" group:"tls" help:"Let the kernel encrypt, if it can: auto or off."`

	Data      string        `restart:"" placeholder:"DIR" group:"data" help:"Directory that keeps rooms and their broadcasts, so that they survive a restart. Without it they are in memory only."`
	DataEvery time.Duration `restart:"" default:"100ms" bounds:"1ms..1h" group:"data" help:"Time between two writes; a process that is killed loses the broadcasts since the last one."`

	Codes string `restart:"" enum:"base32,hex6" default:"base32" group:"access" help:"Form of the rooms' codes: base32 (K7QM-2XHD), or hex6 (A1B2C3). The latter can be guessed, so the relay shuts out an address after 20 wrong codes a minute."`

	CreateKeyFile string     `placeholder:"FILE" group:"access" help:"File with the key that a client must give to create a room. Without it everybody may."`
	APIKeyFile    string     `placeholder:"FILE" group:"access" help:"File with the key of the HTTP API. Without it the API is off."`
	AllowOrigin   []Origin   `placeholder:"ORIGIN" group:"access" help:"Origin whose pages may connect, like https://example.org, besides the relay's own; * for all. May be repeated."`
	AdminHost     []Hostname `placeholder:"NAME" group:"access" help:"Host name that the admin address answers to, besides IP addresses and localhost. May be repeated."`
	Dev           bool       `group:"access" help:"Let pages of every origin connect, like --allow-origin '*'. For trying out a relay."`
	TrustedProxy  []Network  `placeholder:"NETWORK" group:"access" help:"Address or CIDR of a proxy whose X-Forwarded-For is believed, or unix for those that connect through a Unix-domain socket. May be repeated."`
	ProxyProtocol bool       `restart:"" group:"access" help:"Expect each trusted proxy to begin its connections with a header of the PROXY protocol, version 2."`

	Memory MemorySize `restart:"" default:"auto" group:"limits" help:"Memory that the relay may use, like 512MB; auto for three quarters of what the control group or the machine has."`

	MaxConnections   int `default:"20000" zero:"" bounds:"1..10000000" group:"limits" help:"WebSocket connections at once; 0 for as many as descriptors allow."`
	MaxHandshaking   int `default:"15000" bounds:"1..10000000" group:"limits" help:"Connections at once that are not yet WebSockets. When all are taken, a newcomer replaces a connection that does not finish its handshake."`
	MaxHTTP          int `name:"max-http" default:"256" bounds:"1..16384" group:"limits" help:"Plain HTTP connections at once on the relay's own port."`
	MaxRooms         int `default:"10000" bounds:"1..1000000" group:"limits" help:"Rooms at once."`
	MaxViewers       int `default:"20000" bounds:"1..10000000" group:"limits" help:"Viewers of one room at once."`
	MaxHead          int `default:"8192" bounds:"256..65536" group:"limits" help:"Bytes of a request's head."`
	MaxHostMessage   int `default:"1048576" bounds:"256..67108864" group:"limits" help:"Bytes of a host's message. A message of more than 16 times this ends the connection."`
	MaxViewerMessage int `default:"16384" bounds:"256..67108864" group:"limits" help:"Bytes of any other client's message. A message of more than 16 times this ends the connection."`
	MaxName          int `default:"64" bounds:"1..1024" group:"limits" help:"Characters of a viewer's or a room's name."`
	HostRate         int `default:"0" zero:"" bounds:"1..1000000" group:"limits" help:"Broadcasts a second from a host; 0 for any number."`
	HostRequestRate  int `default:"1000" bounds:"1..1000000" group:"limits" help:"Other messages a second from a host."`
	ViewerRate       int `default:"10" bounds:"1..1000000" group:"limits" help:"Messages a second from any other client."`
	MaxPrivate       int `default:"65536" bounds:"1024..67108864" group:"limits" help:"Bytes of answers that may wait for a connection before the relay stops reading from it."`
	LagLimit         int `default:"4194304" bounds:"1024..1073741824" group:"limits" help:"Bytes of broadcasts that a viewer may fall behind; at least twice --max-host-message."`

	Compress    string `enum:"on,off" default:"on" group:"limits" help:"Whether to compress broadcasts for clients that can inflate them (permessage-deflate): on or off."`
	CompressMin int    `default:"256" zero:"" bounds:"1..67108864" group:"limits" help:"Bytes that a broadcast or a history must have to be compressed; 0 for any number."`

	MaxConnectionsPerAddress int `default:"0" zero:"" bounds:"1..10000000" group:"limits" help:"WebSocket connections at once from one address, or /64 of IPv6; 0 for half of --max-connections, and for 3000 at least."`
	MaxRoomsPerAddress       int `default:"200" bounds:"1..1000000" group:"limits" help:"Rooms at once that were created from one address, or /64 of IPv6."`

	Retain         int           `default:"262144" bounds:"1024..1073741824" group:"record" help:"Bytes of broadcasts that a room keeps for viewers that come back and for the history."`
	RetainMessages int           `default:"10000" bounds:"1..10000000" group:"record" help:"Broadcasts that a room keeps."`
	RetainAge      time.Duration `default:"2h" bounds:"1s..24h" group:"record" help:"How long a room keeps a broadcast."`
	RetainTotal    int           `default:"268435456" bounds:"65536..1099511627776" group:"record" help:"Bytes that all rooms may keep together before each is held to its share."`

	HostGrace        time.Duration `default:"60s" zero:"" bounds:"100ms..24h" group:"times" help:"How long a room waits for its host to come back; 0 to close it at once."`
	RoomIdle         time.Duration `default:"10m" bounds:"100ms..24h" group:"times" help:"How long a room made over HTTP waits for its first host."`
	HandshakeTimeout time.Duration `default:"10s" bounds:"100ms..10m" group:"times" help:"How long a client may take to send the head of its request."`
	CloseTimeout     time.Duration `default:"5s" bounds:"100ms..10m" group:"times" help:"How long a closing connection may take to drain and to answer."`
	StallTimeout     time.Duration `default:"30s" bounds:"1s..1h" group:"times" help:"How long a viewer may go without accepting data before the relay closes it."`
	PingAfter        time.Duration `default:"25s" bounds:"100ms..1h" group:"times" help:"Silence in either direction after which the relay sends a ping."`
	IdleTimeout      time.Duration `default:"60s" bounds:"200ms..2h" group:"times" help:"Silence of a client after which the relay closes the connection."`
	HistoryTimeout   time.Duration `default:"5s" bounds:"100ms..10m" group:"times" help:"How long a host may take to answer a request for the history."`
	HistoryEvery     time.Duration `default:"10s" bounds:"100ms..24h" group:"times" help:"Least time between two requests for the history on a connection."`
	HistoryTake      time.Duration `default:"60s" bounds:"1s..1h" group:"times" help:"How long a viewer may take to receive the history that it asked for."`
	MessageTimeout   time.Duration `default:"60s" bounds:"100ms..1h" group:"times" help:"How long a client may take to send a message."`
	PollGrace        time.Duration `default:"30s" bounds:"1s..1h" group:"times" help:"How long a client that polls may go without a request before it has left."`
	DrainTimeout     time.Duration `default:"0s" zero:"" bounds:"1ms..24h" group:"times" help:"How long the relay waits for all connections to close when it ends; 0 for 100us for each connection, but at least 10s; 1ms not to wait."`
	ShutdownDelay    time.Duration `default:"0s" zero:"" bounds:"1ms..1h" group:"times" help:"How long a relay that is told to end answers 503 on /health/ready before it drains, so that load balancers notice."`

	NotSentLowat int           `restart:"" default:"16384" bounds:"1024..67108864" group:"sockets" help:"Bytes that the kernel queues for a socket beyond those in flight (TCP_NOTSENT_LOWAT)."`
	SendBuffer   int           `restart:"" default:"0" zero:"" bounds:"4096..268435456" group:"sockets" help:"Send buffer of each connection in bytes (SO_SNDBUF); 0 lets the kernel tune it."`
	UserTimeout  time.Duration `restart:"" default:"60s" bounds:"1s..1h" group:"sockets" help:"How long a peer may take to acknowledge what was sent (TCP_USER_TIMEOUT)."`
	KeepAlive    time.Duration `restart:"" default:"45s" bounds:"1s..32767s" group:"sockets" help:"Silence after which the kernel probes a peer (TCP_KEEPIDLE)."`

	LogFormat string   `restart:"" enum:"text,json" default:"text" group:"log" help:"Format of the log: text or json."`
	LogLevel  LogLevel `default:"info" group:"log" help:"Least important level to log: debug, info, warn or error."`
}
