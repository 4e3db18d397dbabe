package hub

import (
	"net/netip"
	"time"
)

// Config of a [Hub]. The zero value works; each field names its default.
type Config struct {
	MaxConnections int // WebSocket connections at once; default 20,000
	// MaxHandshaking is how many connections may be in their handshake. When
	// there are more, a newcomer displaces the oldest connection that has sent
	// nothing, or whose request head is still incomplete after 2 s. If there is
	// none, the newcomer is refused. Default 15,000.
	MaxHandshaking int
	MaxRooms       int // rooms at once; default 10,000
	MaxViewers     int // viewers of one room at once; default 20,000

	// Limits for one address, or one /64 of IPv6. MaxConnectionsPerAddress
	// counts WebSocket connections; the default is half of MaxConnections, but
	// at least 3,000 or MaxConnections if that is less. MaxRoomsPerAddress
	// counts rooms for the address that created them until they close; rooms
	// created over HTTP and restored rooms do not count. Default 200.
	MaxConnectionsPerAddress int
	MaxRoomsPerAddress       int

	MaxHead          int // bytes of a request head; default 8 KiB
	MaxHostMessage   int // bytes of a host's message; default 1 MiB
	MaxViewerMessage int // bytes of any other message; default 16 KiB

	// What a room retains of its broadcasts, for viewers that come back and for
	// the history: about this many bytes and messages at most, and nothing much
	// older than RetainAge. Defaults 256 KiB, 10,000 and 2 h. The oldest
	// broadcasts are dropped in segments of up to 64 KiB, so a room may retain
	// up to two segments more.
	Retain         int
	RetainMessages int
	RetainAge      time.Duration
	// RetainTotal is how many bytes all rooms may retain together, in all
	// encodings. Beyond it each room is limited to an equal share, or to its
	// latest segment. Default 256 MiB.
	RetainTotal int

	HostRate        int // broadcasts a second from a host; default 0, no limit
	HostRequestRate int // other messages a second from a host; default 1,000
	ViewerRate      int // messages a second from any other client; default 10
	MaxName         int // characters of a viewer's or a room's name; default 64

	// MaxPrivate is how many bytes of replies and events may wait for one
	// connection before the relay stops reading from it. Default 64 KiB.
	MaxPrivate int
	// LagLimit is how many bytes of broadcasts a viewer that had caught up may
	// fall behind before it counts as too slow. Default 4 MiB, and always at
	// least twice MaxHostMessage.
	LagLimit int

	// HostGrace is how long a room waits for its host to come back. Default
	// 60 s; if negative, the room closes at once.
	HostGrace time.Duration
	// UnjoinedGrace replaces HostGrace, if it is shorter, for a room that a
	// client created and no viewer ever joined. It keeps abandoned rooms from
	// using up MaxRooms, and is long enough for a host to come back over
	// another network. Default 15 s.
	UnjoinedGrace time.Duration

	RoomIdle time.Duration // how long a room created over HTTP waits for its first host; default 10 min

	HandshakeTimeout time.Duration // until the request head is complete; default 10 s
	CloseTimeout     time.Duration // to send what is queued and receive the peer's close frame; default 5 s
	StallTimeout     time.Duration // how long a viewer may go without accepting data; default 30 s
	PingAfter        time.Duration // silence in either direction before a ping; default 25 s
	IdleTimeout      time.Duration // silence from the peer before it is closed; default 60 s
	HistoryTimeout   time.Duration // for the host to answer a history request; default 5 s
	HistoryEvery     time.Duration // between two history requests on one connection; default 10 s
	HistoryTake      time.Duration // for a viewer to receive a history; default 60 s
	MessageTimeout   time.Duration // until a message is complete; default 60 s
	PollGrace        time.Duration // how long a client that polls may go without a request; default 30 s

	// NoCompression declines to compress (RFC 7692): new connections do not agree
	// on it, and nothing is compressed for those that did. They may still send
	// compressed messages.
	NoCompression bool
	// CompressMin is how many bytes a broadcast or history must have to be
	// compressed. Default 256; if negative, all are.
	CompressMin int

	// HexCodes gives rooms codes of six hexadecimal digits instead of eight
	// characters. Such codes can be guessed, so after 20 wrong codes a minute
	// the relay refuses every code from that address that comes without a
	// secret or token.
	HexCodes bool

	// CreateKey is the key that a client must give to create a room. Default:
	// none is needed.
	CreateKey string
	// AllowOrigins are the origins, as browsers send them, whose pages may
	// connect in addition to pages of the relay's own host. "*" allows all.
	AllowOrigins []string
	// TrustedProxies are the networks from which the relay believes
	// X-Forwarded-For. The zero Prefix stands for peers without an address,
	// as those of a Unix-domain socket are.
	TrustedProxies []netip.Prefix

	// Crowded reports that the transport has nearly reached its limit of
	// connections: newcomers then displace others as with MaxHandshaking.
	// Workers call it. Default: never.
	Crowded func() bool

	// Plain takes over a connection whose request is not a WebSocket upgrade,
	// and gets everything that was read from it. from is the client's address,
	// as a trusted proxy reports it. After an error the connection still
	// belongs to the hub; a [PlainRefusal] says what to reply. Default: such
	// requests get status 404.
	Plain func(conn Conn, from netip.Addr, read []byte) error
}

// wholeSchool is how many connections a school behind one address may need:
// 2,000 pupils, some of whom hold two connections while they reconnect.
const wholeSchool = 3_000

func (c Config) withDefaults() Config {
	number := func(n *int, standard int) {
		if *n <= 0 {
			*n = standard
		}
	}
	wait := func(d *time.Duration, standard time.Duration) {
		if *d <= 0 {
			*d = standard
		}
	}
	number(&c.MaxConnections, 20_000)
	number(&c.MaxHandshaking, 15_000)
	number(&c.MaxRooms, 10_000)
	number(&c.MaxViewers, 20_000)
	number(&c.MaxConnectionsPerAddress, max(c.MaxConnections/2, min(c.MaxConnections, wholeSchool)))
	number(&c.MaxRoomsPerAddress, 200)
	number(&c.Retain, 256<<10)
	number(&c.RetainMessages, 10_000)
	wait(&c.RetainAge, 2*time.Hour)
	number(&c.RetainTotal, 256<<20)
	number(&c.HostRequestRate, 1000)
	number(&c.ViewerRate, 10)
	number(&c.MaxName, 64)
	number(&c.MaxHead, 8<<10)
	number(&c.MaxHostMessage, 1<<20)
	number(&c.MaxViewerMessage, 16<<10)
	if c.CompressMin == 0 {
		c.CompressMin = 256
	}
	number(&c.MaxPrivate, 64<<10)
	number(&c.LagLimit, 4<<20)
	c.LagLimit = max(c.LagLimit, 2*c.MaxHostMessage)
	if c.HostGrace == 0 {
		c.HostGrace = time.Minute
	}
	wait(&c.UnjoinedGrace, 15*time.Second)
	wait(&c.RoomIdle, 10*time.Minute)
	wait(&c.HandshakeTimeout, 10*time.Second)
	wait(&c.CloseTimeout, 5*time.Second)
	wait(&c.StallTimeout, 30*time.Second)
	wait(&c.PingAfter, 25*time.Second)
	wait(&c.IdleTimeout, time.Minute)
	wait(&c.HistoryTimeout, 5*time.Second)
	wait(&c.HistoryEvery, 10*time.Second)
	wait(&c.HistoryTake, time.Minute)
	wait(&c.MessageTimeout, time.Minute)
	wait(&c.PollGrace, 30*time.Second)
	return c
}
