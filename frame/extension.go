package frame

import (
	"bytes"
	"slices"
)

// Deflate says what a handshake agreed on about permessage-deflate (RFC 7692).
// The zero value is no agreement.
type Deflate uint8

// The agreements. In all of them neither side keeps a context from one message
// to the next.
const (
	// NoDeflate lets neither side compress.
	NoDeflate Deflate = iota
	// DeflateInbound lets both sides compress, but the client wants a smaller
	// window than a [Deflater] has. So the server inflates what the client
	// sends, and sends its own messages as they are, which is always allowed.
	DeflateInbound
	// DeflateBoth lets both sides compress.
	DeflateBoth
)

// Inflates reports whether messages from the client may be compressed.
func (d Deflate) Inflates() bool { return d != NoDeflate }

// Deflates reports whether messages to the client may be compressed by a
// [Deflater].
func (d Deflate) Deflates() bool { return d == DeflateBoth }

// An offer is the first acceptable offer of permessage-deflate in a request's
// Sec-WebSocket-Extensions lines (RFC 7692 5 and 7.1).
type offer struct {
	found     bool
	malformed bool // some line is not a list of extensions (RFC 6455 9.1)
	window    int  // server_max_window_bits, 0 if the client did not ask for it
}

// agreed returns what the server agrees to.
func (o *offer) agreed() Deflate {
	switch {
	case !o.found:
		return NoDeflate
	case o.window != 0 && o.window < largestWindow:
		return DeflateInbound
	}
	return DeflateBoth
}

// read looks for an offer in one line, unless an earlier line had it. The order
// is the client's order of preference. An offer with a wrong, unknown or repeated
// parameter is declined, and the next one is looked at.
//
//	extension-list  = 1#extension
//	extension       = token *( ";" extension-param )
//	extension-param = token [ "=" ( token / quoted-string ) ]
func (o *offer) read(line []byte) {
	in := extensionList{rest: line}
	for in.more() {
		fits := string(in.token()) == "permessage-deflate"
		var this parameters
		for in.skip(';') {
			name := in.token()
			value, given := []byte(nil), in.skip('=')
			if given {
				value = in.value()
			}
			fits = fits && this.take(string(name), value, given)
		}
		if fits && !in.bad && !o.found {
			o.found, o.window = true, this.serverWindow
		}
	}
	o.malformed = o.malformed || in.bad
}

// parameters are those of an offer (RFC 7692 7.1).
type parameters struct {
	seen         [4]bool
	serverWindow int
}

// offered are the parameters that an offer may have, each once.
var offered = [...]string{"server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits"}

// take reports whether an offer may have this parameter.
func (p *parameters) take(name string, value []byte, given bool) bool {
	i := slices.Index(offered[:], name)
	if i < 0 || p.seen[i] {
		return false
	}
	p.seen[i] = true
	switch bits, ok := windowBits(value); i {
	case 2:
		p.serverWindow = bits
		return ok
	case 3:
		return ok || !given // without a value, the client tells only that it knows the parameter
	}
	return !given
}

const (
	smallestWindow = 8 // bits, RFC 7692 7.1.2
	largestWindow  = 15
)

// windowBits parses a number from 8 to 15, which has no leading zeros.
func windowBits(value []byte) (bits int, ok bool) {
	switch {
	case len(value) == 1 && isDigit(value[0]):
		bits = int(value[0] - '0')
	case len(value) == 2 && value[0] == '1' && isDigit(value[1]):
		bits = 10 + int(value[1]-'0')
	}
	return bits, smallestWindow <= bits && bits <= largestWindow
}

// An extensionList reads the parts of a Sec-WebSocket-Extensions line from the
// front.
type extensionList struct {
	rest   []byte
	commas bool // something was read, so that a comma must come before the next extension
	bad    bool
}

// more moves to the next extension, and reports whether there is one. Empty items
// of the list are ignored (RFC 9110 5.6.1.2).
func (l *extensionList) more() bool {
	separated := !l.commas
	for l.skip(',') {
		separated = true
	}
	l.commas = true
	if l.bad || len(l.rest) == 0 {
		return false
	}
	l.bad = !separated
	return !l.bad
}

// skip moves past a separator, if that comes next.
func (l *extensionList) skip(separator byte) bool {
	l.rest = bytes.TrimLeft(l.rest, " \t")
	if l.bad || len(l.rest) == 0 || l.rest[0] != separator {
		return false
	}
	l.rest = bytes.TrimLeft(l.rest[1:], " \t")
	return true
}

// token reads a token.
func (l *extensionList) token() []byte {
	n := 0
	for n < len(l.rest) && isToken(l.rest[n]) {
		n++
	}
	token := l.rest[:n]
	l.rest = l.rest[n:]
	l.bad = l.bad || n == 0
	return token
}

// value reads a parameter's value: a token, or a quoted string whose content must
// be a token once its escapes are removed (RFC 6455 9.1).
func (l *extensionList) value() []byte {
	if len(l.rest) == 0 || l.rest[0] != '"' {
		return l.token()
	}
	var plain []byte
	for i := 1; i < len(l.rest); i++ {
		switch c := l.rest[i]; c {
		case '"':
			l.rest = l.rest[i+1:]
			l.bad = l.bad || !isTokens(plain)
			return plain
		case '\\':
			if i++; i < len(l.rest) {
				plain = append(plain, l.rest[i])
			}
		default:
			plain = append(plain, c)
		}
	}
	l.bad = true // the string does not end
	return nil
}

// extensionHeaders are the responses, by server_max_window_bits. The server may
// answer with both *_no_context_takeover parameters even if the client did not
// offer them (RFC 7692 7.1.1), and has to repeat server_max_window_bits
// (7.1.2.1).
var extensionHeaders = [largestWindow + 1]string{
	0:  extensionHeader + "\r\n",
	8:  extensionHeader + "; server_max_window_bits=8\r\n",
	9:  extensionHeader + "; server_max_window_bits=9\r\n",
	10: extensionHeader + "; server_max_window_bits=10\r\n",
	11: extensionHeader + "; server_max_window_bits=11\r\n",
	12: extensionHeader + "; server_max_window_bits=12\r\n",
	13: extensionHeader + "; server_max_window_bits=13\r\n",
	14: extensionHeader + "; server_max_window_bits=14\r\n",
	15: extensionHeader + "; server_max_window_bits=15\r\n",
}

const extensionHeader = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
