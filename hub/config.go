package hub

import (
	"net/netip"
	"time"
)

// Config of a [Hub]. The zero value works; each field names its default.
type Config struct {
	MaxConnections int // WebSocket connections at once; default 20,000
	// MaxHandshaking is how many connections may not yet be WebSockets. One more
	// takes the place of the oldest that has sent nothing, or whose head is
	// incomplete after 2 s; if there is none it is refused. Default 15,000.
	MaxHandshaking int
	MaxRooms       int // rooms at once; default 10,000
	MaxViewers     int // viewers of one room at once; default 20,000

	// From one address, or one /64 of IPv6: WebSocket connections, by default half of
	// MaxConnections, but 3,000 if there may be so many, and rooms, by default 200. Rooms count for the address that
	// created them until they close; those made over HTTP and restored ones do not.
	MaxConnectionsPerAddress int
	MaxRoomsPerAddress       int

	MaxHead          int // bytes of a request's head; default 8 KiB
	MaxHostMessage   int // bytes of a host's message; default 1 MiB
	MaxViewerMessage int // bytes of anybody else's message; default 16 KiB

	// What a room keeps of its broadcasts, for viewers that come back and for the
	// history: at most about this many bytes and messages, and none much older
	// than this. Defaults 256 KiB, 10,000 and 2 h. They go by runs of up to 64 KiB,
	// so a room keeps up to two of them more.
	Retain         int
	RetainMessages int
	RetainAge      time.Duration
	// RetainTotal is how many bytes all rooms may keep together, in all encodings,
	// before each is held to its share of them, or its latest run. Default
	// 256 MiB.
	RetainTotal int

	HostRate        int // broadcasts a second from a host; default 0, which is no limit
	HostRequestRate int // other messages a second from a host; default 1,000
	ViewerRate      int // messages a second from anybody else; default 10
	MaxName         int // characters of a viewer's or a room's name; default 64

	// MaxPrivate is how many bytes of answers and events may wait for one
	// connection before nothing more is read from it. Default 64 KiB.
	MaxPrivate int
	// LagLimit is how many bytes of broadcasts a viewer that had caught up may
	// fall behind before it is closed as too slow. Default 4 MiB, and always at
	// least twice MaxHostMessage.
	LagLimit int

	// HostGrace is how long a room waits for its host to come back. Default
	// 60 s; a negative one closes the room at once.
	HostGrace time.Duration
	// UnjoinedGrace is the same, if it is less, for a room that a client created and
	// nobody ever joined: such rooms would take the place of others. It is long enough
	// for a host to come back over another network. Default 15 s.
	UnjoinedGrace time.Duration

	RoomIdle time.Duration // for the first host of a room made over HTTP; default 10 min

	HandshakeTimeout time.Duration // for the whole request's head; default 10 s
	CloseTimeout     time.Duration // to drain, and for the peer to answer a close frame; default 5 s
	StallTimeout     time.Duration // without taking a byte that was due; default 30 s
	PingAfter        time.Duration // of silence in either direction; default 25 s
	IdleTimeout      time.Duration // without a sign of life; default 60 s
	HistoryTimeout   time.Duration // for the host to answer; default 5 s
	HistoryEvery     time.Duration // between two requests on one connection; default 10 s
	HistoryTake      time.Duration // for a viewer to take it; default 60 s
	MessageTimeout   time.Duration // for a message to come whole; default 60 s

	// HexCodes has rooms named by six hexadecimal digits, which can be guessed,
	// instead of eight characters. Then 20 wrong codes a minute shut out all that
	// comes from an address with a code alone.
	HexCodes bool

	// CreateKey, if not empty, must be given to create a room.
	CreateKey string
	// AllowOrigins are origins, as browsers send them, whose pages may connect
	// besides those of the relay's own host; "*" allows all.
	AllowOrigins []string
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	// Crowded reports that the transport has nearly all the connections that it may
	// have: newcomers then take places as with MaxHandshaking. It is called by
	// workers. Default: it never has.
	Crowded func() bool

	// Plain takes over a connection whose request is not a WebSocket upgrade,
	// with everything that was read from it. After an error the connection is
	// still the hub's; a [PlainRefusal] says what to answer. Default: such requests are answered 404.
	// from is the client's address, as trusted proxies tell it.
	Plain func(conn Conn, from netip.Addr, read []byte) error
}

// wholeSchool is how many connections a school behind one address may need:
// 2,000 pupils, of whom some hold two while they come back.
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
	return c
}
