package hub

import (
	"bytes"
	"time"

	"lectern/frame"
)

// Compressed messages are inflated here, before a dialect sees them.

const (
	// inflateInline is the size in bytes of a compressed message up to which the
	// worker inflates it. The worst data takes some 0.1 us a byte (BenchmarkInflate
	// in package frame). Larger messages are inflated in a goroutine.
	inflateInline = 4 << 10
	// inflateOutput is how many bytes such a message may have, once inflated, for the
	// worker. If it has more, a goroutine begins again, so nothing waits half inflated.
	inflateOutput = 128 << 10
	// inflateRest is how long Hub.inflations pauses after each inflation, as a multiple
	// of the time that the inflation took. So they take at most a quarter of a processor.
	inflateRest = 3
)

// inflate handles a compressed message.
func (s *Session) inflate(m frame.Message) {
	if s.rateSpent() {
		s.Report(s.CountMessage()) // what the message says does not matter
		return
	}
	h := s.shard.hub
	h.compression.inflated.Add(1)
	limit := s.language().Limit(s)
	if len(m.Payload) <= inflateInline {
		in := h.takeInflater()
		plain, err := in.Message(m, min(limit, inflateOutput))
		if err != nil || !plain.TooLarge || limit <= inflateOutput {
			s.takeInflated(plain, err)
			h.compressors.inflaters.give(in)
			return
		}
		h.compressors.inflaters.give(in)
	}
	if !m.Owned {
		m.Payload = bytes.Clone(m.Payload)
	}
	s.handled(cap(m.Payload) + limit)
	var plain frame.Message
	var err error
	work := func() {
		in := h.takeInflater()
		defer h.compressors.inflaters.give(in)
		if plain, err = in.Message(m, limit); !plain.Owned {
			plain.Payload, plain.Owned = bytes.Clone(plain.Payload), true
		}
	}
	done := func(there bool) {
		if there {
			s.takeInflated(plain, err)
		}
	}
	if s.has(flagHost) {
		s.offload(work, done)
		return
	}
	// Clients that are no hosts must not delay the hosts' messages.
	s.offloadTo(h.inflations, func() {
		began := time.Now()
		work()
		time.Sleep(inflateRest * time.Since(began))
	}, done)
}

// takeInflated handles a message that was inflated, or the error.
func (s *Session) takeInflated(plain frame.Message, err error) {
	counters := &s.shard.hub.compression
	switch {
	case err != nil:
		counters.invalid.Add(1)
		s.Fail(err)
		return
	case plain.TooLarge:
		counters.tooLarge.Add(1)
	}
	s.language().Message(s, plain)
}

// takeInflater returns an inflater. There is one for each worker and each place
// in the turnstiles.
func (h *Hub) takeInflater() *frame.Inflater {
	if in := h.compressors.inflaters.take(); in != nil {
		return in
	}
	panic("hub: more inflaters in use than there are goroutines")
}

// rateSpent reports whether a message of the session would be over the limit for
// this second.
func (s *Session) rateSpent() bool {
	limit := s.Config().ViewerRate
	if s.has(flagHost) || limit <= 0 || s.more == nil {
		return false
	}
	rate := &s.more.rate
	return s.shard.Now()-rate.since < second && rate.messages >= limit
}
