package frame

import (
	"bytes"
	"fmt"
)

const (
	// DefaultMaxHead bounds a request's head in bytes unless the [Handshake] is
	// told otherwise.
	DefaultMaxHead = 8 << 10

	maxFields = 100 // header lines of a request
	maxBlank  = 4   // bytes of blank lines before a request
	headStep  = 256 // by so many bytes does the buffer of a head that trickles in grow
)

// A Verdict is what a [Handshake] makes of the bytes so far. All but Pending
// are final.
type Verdict uint8

// The verdicts.
const (
	Pending Verdict = iota // the head is not complete
	Upgrade                // a WebSocket upgrade that passed every check: send Reply, go on with Rest
	Plain                  // an HTTP request that asks for no WebSocket: Head is for an HTTP server
	Refused                // not HTTP, or an upgrade with a mistake: send Reply and close
)

// String returns the verdict's name.
func (v Verdict) String() string {
	return [...]string{"Pending", "Upgrade", "Plain", "Refused"}[v]
}

// A Handshake reads the head of an HTTP/1.1 request (RFC 9112) and answers it
// if it is a WebSocket's opening handshake (RFC 6455 4.2). Its zero value is
// ready. A head that arrives in one chunk is never buffered.
//
// Any line is judged when its end is there, and the first byte at once, so that
// what is not HTTP is refused without waiting for the end of a head that it
// does not have.
type Handshake struct {
	// MaxHead bounds the head in bytes, its blank line included; 0 means
	// [DefaultMaxHead]. A longer one is refused with 431.
	MaxHead int
	// Subprotocol is agreed to when the client offers it; empty means none.
	Subprotocol string
	// NoDeflate declines offers of permessage-deflate.
	NoDeflate bool

	verdict Verdict
	blank   uint8  // bytes of blank lines before the request
	halfEnd bool   // the last of them is a CR
	buffer  []byte // what has come, unless all of it came in one chunk
	line    int    // where the line under way begins
	scanned int    // bytes that were searched for that line's end
	lines   int    // lines before it, the request line included
	request Request
	deflate Deflate
	reply   []byte
	rest    []byte
}

// Feed takes the next bytes of the connection. It does not change chunk, but
// after Upgrade [Handshake.Rest] aliases it. Once the verdict is no longer
// Pending, further bytes are not looked at.
func (h *Handshake) Feed(chunk []byte) Verdict {
	if h.verdict != Pending || len(chunk) == 0 {
		return h.verdict
	}
	kept := len(h.buffer)
	if h.scanned == 0 {
		var refused *refusal
		if chunk, refused = h.skipBlank(chunk); refused != nil {
			h.refuse(refused)
		}
		if len(chunk) == 0 {
			return h.verdict
		}
	}
	head := chunk
	if kept > 0 {
		// One byte over the limit is enough to know that it is passed.
		h.keep(chunk[:min(len(chunk), h.maxHead()+1-kept)])
		head = h.buffer
	}
	end, refused := h.scan(head)
	switch {
	case refused != nil:
		h.refuse(refused)
	case end > 0:
		h.judge(head[:end], kept, chunk)
	case kept == 0:
		h.keep(chunk)
	}
	return h.verdict
}

// Request returns what the request asked for. Valid after Upgrade, and after
// Plain, when the path may be empty.
func (h *Handshake) Request() Request { return h.request }

// Deflate returns what was agreed about compression. Valid after Upgrade.
func (h *Handshake) Deflate() Deflate { return h.deflate }

// Reply returns the bytes to send: after Upgrade the 101 response, after
// Refused the error response, otherwise nil. They are the caller's.
func (h *Handshake) Reply() []byte { return h.reply }

// Rest returns what followed the head in the last chunk, the first bytes for
// the [Assembler]. It aliases that chunk. Valid after Upgrade.
func (h *Handshake) Rest() []byte { return h.rest }

// Head returns everything that was fed, including what followed the head, but
// for blank lines before it: a copy, which is the caller's. Valid after Plain.
func (h *Handshake) Head() []byte {
	if h.verdict != Plain {
		return nil
	}
	return h.buffer
}

// Framing returns the size of the request's head within [Handshake.Head], and that
// of its body, which is -1 if Content-Length alone does not tell it. Valid after
// Plain.
func (h *Handshake) Framing() (head int, body int64) {
	if h.verdict != Plain {
		return 0, 0
	}
	for line := range bytes.Lines(h.buffer) {
		head += len(line)
		if len(trimLineEnd(line)) == 0 {
			break
		}
	}
	f := parseFields(h.buffer[:head])
	return head, f.bodySize()
}

// Buffered returns how many bytes of memory are kept of what was fed: while
// Pending at most MaxHead and 256 more, after Plain those of Head, else none.
func (h *Handshake) Buffered() int { return cap(h.buffer) }

// skipBlank cuts blank lines off the front of a chunk that the request's first
// byte has not come before. Some clients send one after a request's body (RFC
// 9112 2.2). It returns no bytes with a refusal.
func (h *Handshake) skipBlank(chunk []byte) (rest []byte, refused *refusal) {
	for len(chunk) > 0 && (h.halfEnd || chunk[0] == '\r' || chunk[0] == '\n') {
		if h.blank == maxBlank || h.halfEnd && chunk[0] != '\n' {
			return nil, badRequest("not an HTTP request")
		}
		h.blank++
		h.halfEnd = chunk[0] == '\r'
		chunk = chunk[1:]
	}
	return chunk, nil
}

// scan goes on from where it stopped in data, which begins with the request's
// first byte. It returns the size of the head, 0 if that has not all come.
func (h *Handshake) scan(data []byte) (size int, refused *refusal) {
	if h.scanned == 0 {
		if refused := checkFirstByte(data[0]); refused != nil {
			return 0, refused
		}
	}
	within := data[:min(len(data), h.maxHead())]
	for {
		n := bytes.IndexByte(within[h.scanned:], '\n')
		if n < 0 {
			h.scanned = len(within)
			if len(data) > len(within) {
				return 0, &refusal{431, fmt.Sprintf("the request's head is larger than %d bytes", h.maxHead())}
			}
			return 0, nil
		}
		end := h.scanned + n + 1
		line := trimLineEnd(within[h.line:end])
		if len(line) == 0 {
			return end, nil
		}
		if refused := checkLine(line, h.lines); refused != nil {
			return 0, refused
		}
		h.line, h.scanned = end, end
		h.lines++
	}
}

// judge gives the verdict on a complete head. The last chunk is known too, and
// how many bytes came before it.
func (h *Handshake) judge(head []byte, kept int, chunk []byte) {
	f := parseFields(head)
	if !f.websocket {
		h.verdict = Plain
		h.request = f.request()
		h.request.Method = string(f.method)
		h.buffer = append(h.buffer[:kept:kept], chunk...)
		return
	}
	agreed := f.deflate.agreed()
	if h.NoDeflate {
		agreed = NoDeflate
	}
	refused := f.check()
	if refused == nil {
		h.reply, refused = f.accept(head, h.Subprotocol, agreed)
	}
	if refused != nil {
		h.refuse(refused)
		return
	}
	h.verdict, h.deflate = Upgrade, agreed
	h.request = f.request()
	h.rest = chunk[len(head)-kept:]
	h.buffer = nil
}

func (h *Handshake) refuse(r *refusal) {
	h.verdict = Refused
	h.reply = AppendRefusal(nil, r.status, r.message)
	h.buffer = nil
}

// keep adds to the buffer, which grows in small steps: thousands of connections
// may send their heads byte by byte.
func (h *Handshake) keep(p []byte) {
	if need := len(h.buffer) + len(p); need > cap(h.buffer) {
		grown := make([]byte, len(h.buffer), (need+headStep-1)/headStep*headStep)
		copy(grown, h.buffer)
		h.buffer = grown
	}
	h.buffer = append(h.buffer, p...)
}

func (h *Handshake) maxHead() int {
	if h.MaxHead <= 0 {
		return DefaultMaxHead
	}
	return h.MaxHead
}
