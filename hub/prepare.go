package hub

import (
	"bytes"
	"sync/atomic"

	"lectern/frame"
)

// Encodings of a dialect may share work that takes long, such as compression. The work
// needs neither the broadcast's number nor the room's lock. So it is done once for each
// broadcast, before the room takes its lock: see Encoding.Prepare.

// prepareInline is the size in bytes up to which a worker prepares a broadcast
// itself. That takes up to 0.9 ms (BenchmarkDeflate in package frame). Larger ones
// are prepared in a goroutine.
const prepareInline = 64 << 10

// prepared are the results of Encoding.Prepare for one broadcast, by dialect.
type prepared []preparedFor

type preparedFor struct {
	dialect uint8
	result  []byte
}

// of returns the result for an encoding, nil if there is none.
func (p prepared) of(e *registered) []byte {
	if e.Prepare != nil {
		for _, one := range p {
			if one.dialect == e.dialect {
				return one.result
			}
		}
	}
	return nil
}

// prepares reports whether some reader of the streams wants a payload of this
// size to be prepared. Any goroutine may call it.
func (s *streams) prepares(size int) bool {
	if !s.room.hub.Config().compresses(size) {
		return false
	}
	for _, st := range *s.all.Load() {
		if s.room.hub.encodings[st.encoding].Prepare != nil {
			return true
		}
	}
	return false
}

// prepare prepares a broadcast for the streams that want it. It must be called
// without the room's lock, from any goroutine.
func (s *streams) prepare(payload []byte) (p prepared) {
	if !s.prepares(len(payload)) {
		return nil
	}
	h := s.room.hub
	for _, st := range *s.all.Load() {
		e := &h.encodings[st.encoding]
		if e.Prepare == nil || p.has(e.dialect) {
			continue
		}
		result := h.prepare(e, payload)
		p = append(p, preparedFor{e.dialect, result})
		h.compression.broadcast(len(payload), result)
	}
	return p
}

func (p prepared) has(dialect uint8) bool {
	for _, one := range p {
		if one.dialect == dialect {
			return true
		}
	}
	return false
}

// prepare prepares a payload for the encodings of a dialect. It returns nil if all
// deflaters are in use; the broadcast then goes uncompressed.
func (h *Hub) prepare(e *registered, payload []byte) []byte {
	if e.Prepare == nil || !h.Config().compresses(len(payload)) {
		return nil
	}
	d := h.compressors.deflaters.take()
	if d == nil {
		return nil
	}
	defer h.compressors.deflaters.give(d)
	return e.Prepare(payload, d)
}

// pack returns a shorter frame of a history, or the same one.
func (h *Hub) pack(e *registered, history []byte) []byte {
	if !h.Config().compresses(len(history)) {
		return history
	}
	d := h.compressors.deflaters.take()
	if d == nil {
		return history
	}
	defer h.compressors.deflaters.give(d)
	return e.Pack(history, d)
}

// isLarge reports whether a host's message is to be prepared in a goroutine.
func (s *streams) isLarge(payload []byte) bool {
	return len(payload) > prepareInline && s.prepares(len(payload))
}

// prepareLarge prepares a host's large message in a goroutine, and then calls use
// on the session's worker, unless the session has ended. The host's later messages
// wait.
func (s *Session) prepareLarge(payload []byte, use func(payload []byte, p prepared)) {
	if len(payload) < MinOffload {
		payload = bytes.Clone(payload) // otherwise it has a buffer of its own
	}
	streams := &s.room.streams
	var p prepared
	s.offload(func() { p = streams.prepare(payload) }, func(there bool) {
		if there {
			use(payload, p)
		}
	})
}

// compresses reports whether a message of this size may be compressed.
func (c *Config) compresses(size int) bool { return !c.NoCompression && size >= c.CompressMin }

// Deflates reports whether messages to this client may be compressed. It may be
// called from any goroutine.
func (s *Session) Deflates() bool { return s.deflate.Deflates() && !s.Config().NoCompression }

// Deflate calls use with a deflater, if messages to this client may be compressed
// and a deflater is free. It reports whether it did. It may be called from any
// goroutine.
func (s *Session) Deflate(use func(*frame.Deflater)) bool {
	if !s.Deflates() {
		return false
	}
	d := s.shard.hub.compressors.deflaters.take()
	if d == nil {
		return false
	}
	defer s.shard.hub.compressors.deflaters.give(d)
	use(d)
	return true
}

// Compression are the figures of compression since the hub was created.
type Compression struct {
	Agreed uint64 // connections that agreed on it

	// Of broadcasts that were compressed, each counted once: the bytes that their
	// hosts sent, and what was left of them.
	Before, After uint64
	Broadcasts    uint64
	Kept          uint64 // broadcasts that compression would not have made shorter, or for which no deflater was free

	Inflated uint64 // compressed messages from clients
	TooLarge uint64 // those among them that were over the sender's limit
	Invalid  uint64 // those among them that were not valid
}

// compressionCounters are a Compression that any goroutine may write and read.
type compressionCounters struct {
	agreed, before, after, broadcasts, kept, inflated, tooLarge, invalid atomic.Uint64
}

func (c *compressionCounters) broadcast(size int, result []byte) {
	if result == nil {
		c.kept.Add(1)
		return
	}
	c.broadcasts.Add(1)
	c.before.Add(uint64(size))
	c.after.Add(uint64(len(result)))
}

func (c *compressionCounters) figures() Compression {
	return Compression{
		c.agreed.Load(), c.before.Load(), c.after.Load(), c.broadcasts.Load(), c.kept.Load(),
		c.inflated.Load(), c.tooLarge.Load(), c.invalid.Load(),
	}
}
