// Package workload says what load to make and where: options with their defaults
// and limits, and templates of what a server wants to hear. It makes none itself.
package workload

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Options say what load to make and where. The zero value of each field means
// the default that is named, or the scenario's own where it says so.
type Options struct {
	Label     string        `json:"label,omitempty"`      // what is measured, for comparisons; default lectern, or the template's name
	URL       string        `json:"url"`                  // default ws://127.0.0.1:8765/; {room} in it stands for the room
	Viewers   int           `json:"viewers"`              // all rooms together; default: the scenario's
	Rooms     int           `json:"rooms"`                // each has a host of its own; default 1
	Rate      float64       `json:"rate"`                 // messages a second in each room; default: the scenario's
	Size      int           `json:"size"`                 // bytes of a message as its host sends it, envelope included; default: the payload's or the scenario's
	Duration  time.Duration `json:"duration_ns"`          // of the measured part, or of one step; default: the scenario's
	Warmup    time.Duration `json:"warmup_ns"`            // published before, checked but not measured; default 1 s, negative for none
	Payload   Payload       `json:"payload,omitempty"`    // what a message is filled up with; default Random
	Template  Template      `json:"template"`             // default: the preset classroom
	RoomNames []string      `json:"room_names,omitempty"` // join these rooms, which another process opened; no hosts, nothing is published
	Clock     Clock         `json:"clock,omitempty"`      // what the stamps count in; default Monotonic

	Transport Transport `json:"transport,omitempty"` // how viewers are connected; default WS
	Compress  bool      `json:"compress,omitempty"`  // viewers offer to get compressed messages, which the server must agree to

	ConnectRate float64       `json:"connect_rate,omitempty"` // new connections a second; default: as fast as the server takes them
	Window      int           `json:"window,omitempty"`       // connections on their way at once; default 1000
	Sources     []string      `json:"sources,omitempty"`      // local addresses to connect from; default: the system's choice, on loopback as many as the ports need
	StartAt     time.Time     `json:"start_at,omitzero"`      // when to begin to publish; default: when all have joined
	Timeout     time.Duration `json:"timeout_ns,omitempty"`   // limit of each stage of a connection; default 10 s
	Drain       time.Duration `json:"drain_ns,omitempty"`     // how long to wait for late messages after the last was due; default 10 s

	CreateKey string `json:"-"` // the relay's create key; classroom only, and in no report

	Headers  []string `json:"headers,omitempty"`  // "Name: value" lines for the handshake
	Insecure bool     `json:"insecure,omitempty"` // wss: do not check the certificate
	CA       string   `json:"ca,omitempty"`       // wss: certificates in PEM to trust; default: the system's

	Agents []string `json:"agents,omitempty"` // host:port of other machines that have a share of the viewers; fanout only
	Token  string   `json:"-"`                // what the agents know it by

	Thresholds Thresholds `json:"thresholds,omitzero"` // what the run must keep to

	PID           int      `json:"pid,omitempty"`    // process to read CPU and memory of
	Serve         bool     `json:"serve,omitempty"`  // start the server, and end it afterwards
	TLS           bool     `json:"tls,omitempty"`    // over TLS, with a certificate that is made for the run
	ServerCommand []string `json:"server,omitempty"` // what Serve starts, {addr} stands for host:port, {cert} and {key} for files; default: this program's serve
}

// The limits of what can be asked for.
const (
	MaxViewers  = 10_000_000
	MaxRate     = 10_000_000
	MaxSize     = 8 << 20
	MaxDuration = 24 * time.Hour
)

// ErrOptions is wrapped by every error about options that make no sense.
var ErrOptions = errors.New("bench: cannot run with these options")

// WithDefaults fills what is zero, first from the scenario's own defaults.
func (o Options) WithDefaults(scenario Options) Options {
	SetDefault(&o.URL, "ws://127.0.0.1:8765/")
	SetDefault(&o.Viewers, scenario.Viewers)
	SetDefault(&o.Rooms, max(1, len(o.RoomNames)))
	SetDefault(&o.Rate, scenario.Rate)
	SetDefault(&o.Payload, Random)
	SetDefault(&o.Size, sizes[o.Payload])
	SetDefault(&o.Size, scenario.Size)
	SetDefault(&o.Size, 256)
	SetDefault(&o.Duration, scenario.Duration)
	SetDefault(&o.Warmup, time.Second)
	SetDefault(&o.Clock, Monotonic)
	SetDefault(&o.Transport, WS)
	SetDefault(&o.Window, 1000)
	SetDefault(&o.Timeout, 10*time.Second)
	SetDefault(&o.Drain, 10*time.Second)
	o.Warmup = max(o.Warmup, 0)
	if o.Template == (Template{}) {
		o.Template = presets["classroom"]
	}
	return o
}

// SetDefault sets what is zero.
func SetDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// Check refuses what cannot be run, with the reason.
func (o Options) Check() error {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return Refuse("the URL %q does not parse: %v", o.URL, err)
	case u.Scheme != "ws" && u.Scheme != "wss":
		return Refuse("the URL %q is neither ws:// nor wss://", o.URL)
	case u.Hostname() == "":
		return Refuse("the URL %q names no host", o.URL)
	case o.Viewers < 1 || o.Viewers > MaxViewers:
		return Refuse("%d viewers: it takes 1 to %d", o.Viewers, MaxViewers)
	case o.Rooms < 1:
		return Refuse("%d rooms: it takes at least 1", o.Rooms)
	case o.Rooms > o.Viewers:
		return Refuse("%d rooms for %d viewers: each room needs a viewer", o.Rooms, o.Viewers)
	case !(o.Rate > 0 && o.Rate <= MaxRate):
		return Refuse("a rate of %v messages a second: it takes more than 0 and at most %d", o.Rate, MaxRate)
	case o.Duration < 100*time.Millisecond || o.Duration > MaxDuration:
		return Refuse("a duration of %v: it takes 100ms to %v", o.Duration, MaxDuration)
	case o.Rate*o.Duration.Seconds() < 1:
		return Refuse("%v messages a second for %v is not one message", o.Rate, o.Duration)
	case o.Rate*(o.Duration+o.Warmup).Seconds() > math.MaxUint32/2:
		return Refuse("%v messages a second for %v are more than the stamp can count", o.Rate, o.Duration)
	case o.ConnectRate < 0 || math.IsNaN(o.ConnectRate):
		return Refuse("a connect rate of %v a second", o.ConnectRate)
	case o.Window < 1:
		return Refuse("%d connections on their way at once: it takes at least 1", o.Window)
	case o.Timeout < 0 || o.Drain < 0:
		return Refuse("a negative time limit")
	case !o.StartAt.IsZero() && time.Until(o.StartAt) < 0:
		return Refuse("the start at %s is past", o.StartAt.Format(time.RFC3339))
	case o.PID < 0:
		return Refuse("process %d", o.PID)
	case o.PID != 0 && o.Serve:
		return Refuse("both a process to watch and one to start: choose")
	case len(o.ServerCommand) > 0 && !o.Serve:
		return Refuse("a server command without --serve")
	case o.TLS && !o.Serve:
		return Refuse("a certificate for a server that runs already: without --serve, give a wss:// URL")
	case o.Serve && u.Scheme != "ws":
		return Refuse("--serve starts a ws:// server, the URL is %q", o.URL)
	case len(o.RoomNames) > 0 && o.Rooms != len(o.RoomNames):
		return Refuse("%d rooms, but %d names to join", o.Rooms, len(o.RoomNames))
	case o.Transport != WS && o.Transport != SSE && o.Transport != Poll:
		return Refuse("the transport %q: there are %q, %q and %q", o.Transport, WS, SSE, Poll)
	case o.Transport != WS && o.Template.Name != "classroom":
		return Refuse("the transport %q belongs to the relay's own protocol: it takes the preset classroom", o.Transport)
	case o.Transport != WS && o.Compress:
		return Refuse("the transport %q is not compressed: only WebSockets are", o.Transport)
	case !slices.Contains(payloads, o.Payload):
		return Refuse("the payload %q: there are %q", o.Payload, payloads)
	case o.Clock != Monotonic && o.Clock != Wall:
		return Refuse("the clock %q: there are %q and %q", o.Clock, Monotonic, Wall)
	}
	for _, h := range o.Headers {
		if name, _, ok := strings.Cut(h, ":"); !ok || strings.TrimSpace(name) == "" || strings.ContainsAny(h, "\r\n") {
			return Refuse("the header %q is not of the form Name: value", h)
		}
	}
	return errors.Join(o.Template.check(o), o.checkCreateKey(), o.Thresholds.check())
}

// Refuse returns an error that wraps [ErrOptions].
func Refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOptions, fmt.Sprintf(format, args...))
}

// A Transport names how viewers are connected. Hosts always use a WebSocket: they are
// few, and what is measured is deliveries.
type Transport string

// The transports.
const (
	WS   Transport = "ws"
	SSE  Transport = "sse"  // an event stream, for which a viewer only sends a request
	Poll Transport = "poll" // long-polling: a request for each response, on the same connection
)

// A Clock names what the stamps count in.
type Clock string

// The clocks. Monotonic is the machine's CLOCK_MONOTONIC, the same for all
// processes on it. Wall is the time of day, for viewers on other machines than
// the host: their latencies are as right as the machines' clocks are.
const (
	Monotonic Clock = "monotonic"
	Wall      Clock = "wall"
)

// Name returns what is measured: the label, or what the template is for.
func (o Options) Name() string {
	switch {
	case o.Label != "":
		return o.Label
	case o.Template.Name == "classroom":
		return "lectern"
	default:
		return o.Template.Name
	}
}

// Thresholds are limits that decide whether a run passes. They hold for each
// measured phase.
type Thresholds struct {
	// MaxP99 bounds the 99th percentile of the latency or, where nothing is
	// published, of the time to join. 0 means no bound.
	MaxP99 time.Duration `json:"max_p99_ns,omitempty"`

	// MaxMissing is how many messages may be missing. By default none may, and a
	// missing message is a problem like any other.
	MaxMissing *uint64 `json:"max_missing,omitempty"`
}

func (t Thresholds) check() error {
	if t.MaxP99 < 0 {
		return Refuse("a threshold of %v for the 99th percentile", t.MaxP99)
	}
	return nil
}

// Tolerates reports whether thresholds, and not this phase alone, decide about
// its missing messages.
func (t Thresholds) Tolerates() bool { return t.MaxMissing != nil }
