package hub

import "time"

// Config of a [Hub]. The zero value works; each field names its default.
type Config struct {
	MaxConnections int // WebSocket connections at once; default 20,000
	MaxRooms       int // rooms at once; default 10,000

	MaxHead          int // bytes of a request's head; default 8 KiB
	MaxHostMessage   int // bytes of a host's message; default 1 MiB
	MaxViewerMessage int // bytes of anybody else's message; default 16 KiB

	// MaxPrivate is how many bytes of answers and events may wait for one
	// connection before nothing more is read from it. Default 64 KiB.
	MaxPrivate int
	// LagLimit is how many bytes of broadcasts a viewer that had caught up may
	// fall behind before it is closed as too slow. Default 4 MiB, and always at
	// least twice MaxHostMessage.
	LagLimit int

	HandshakeTimeout time.Duration // for the whole request's head; default 10 s
	CloseTimeout     time.Duration // to drain, and for the peer to answer a close frame; default 5 s
	StallTimeout     time.Duration // without taking a byte that was due; default 30 s
	PingAfter        time.Duration // of silence in either direction; default 25 s
	IdleTimeout      time.Duration // without a sign of life; default 60 s
	HistoryTimeout   time.Duration // for the host to answer; default 5 s
	HistoryEvery     time.Duration // between two requests of one viewer; default 10 s

	// EchoPath, if not empty, is a path at which text and binary messages are
	// sent back, for conformance suites.
	EchoPath string

	// Plain takes over a connection whose request is not a WebSocket upgrade,
	// with everything that was read from it. After an error the connection is
	// still the hub's. Default: such requests are answered 404.
	Plain func(conn Conn, read []byte) error
}

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
	number(&c.MaxRooms, 10_000)
	number(&c.MaxHead, 8<<10)
	number(&c.MaxHostMessage, 1<<20)
	number(&c.MaxViewerMessage, 16<<10)
	number(&c.MaxPrivate, 64<<10)
	number(&c.LagLimit, 4<<20)
	c.LagLimit = max(c.LagLimit, 2*c.MaxHostMessage)
	wait(&c.HandshakeTimeout, 10*time.Second)
	wait(&c.CloseTimeout, 5*time.Second)
	wait(&c.StallTimeout, 30*time.Second)
	wait(&c.PingAfter, 25*time.Second)
	wait(&c.IdleTimeout, time.Minute)
	wait(&c.HistoryTimeout, 5*time.Second)
	wait(&c.HistoryEvery, 10*time.Second)
	return c
}
