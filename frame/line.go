package frame

import (
	"bytes"
	"fmt"
	"strings"
)

// trimLineEnd cuts CR LF off a line, or a bare LF, which RFC 9112 2.2 lets
// stand for it.
func trimLineEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// checkFirstByte refuses at once what cannot begin a method's name.
func checkFirstByte(b byte) *refusal {
	const tlsHandshake = 0x16 // content type of a ClientHello's record, RFC 8446 5.1
	switch {
	case b == tlsHandshake:
		return badRequest("this port speaks plain http:// and ws://, not TLS")
	case !isToken(b):
		return badRequest("not an HTTP request")
	}
	return nil
}

// checkLine checks a line of a head, which must not be empty. Line 0 is the
// request line.
func checkLine(line []byte, number int) *refusal {
	for _, c := range line {
		if isControl(c) {
			return badRequest(fmt.Sprintf("control character 0x%02x in line %d of the request", c, number+1))
		}
	}
	if number == 0 {
		return checkRequestLine(line)
	}
	if number > maxFields {
		return badRequest(fmt.Sprintf("more than %d header lines", maxFields))
	}
	return checkField(line, number)
}

// checkRequestLine wants a method, a target and HTTP/1.x (RFC 9112 3), with one
// space between them.
func checkRequestLine(line []byte) *refusal {
	method, target, version, ok := splitRequestLine(line)
	if !ok || !isTokens(method) || len(target) == 0 {
		return badRequest("not an HTTP request line")
	}
	major, ok := bytes.CutPrefix(version, []byte("HTTP/"))
	if !ok || len(major) != 3 || !isDigit(major[0]) || major[1] != '.' || !isDigit(major[2]) {
		return badRequest("the request line does not end in an HTTP version")
	}
	if major[0] != '1' {
		return &refusal{505, "only HTTP/1.1 is spoken here"}
	}
	return nil
}

func splitRequestLine(line []byte) (method, target, version []byte, ok bool) {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return nil, nil, nil, false
	}
	target, version, ok = bytes.Cut(rest, []byte{' '})
	return method, target, version, ok
}

// checkField wants a name, a colon and any value (RFC 9112 5). What is refused
// here is read in different ways by different servers, which is how requests
// are smuggled past a proxy.
func checkField(line []byte, number int) *refusal {
	name, _, ok := bytes.Cut(line, []byte{':'})
	switch {
	case line[0] == ' ' || line[0] == '\t': // RFC 9112 5.2: obs-fold
		return badRequest(fmt.Sprintf("line %d of the request is folded", number+1))
	case !ok:
		return badRequest(fmt.Sprintf("no colon in line %d of the request", number+1))
	case len(name) == 0:
		return badRequest(fmt.Sprintf("no name before the colon in line %d of the request", number+1))
	case name[len(name)-1] == ' ' || name[len(name)-1] == '\t': // RFC 9112 5.1
		return badRequest(fmt.Sprintf("space before the colon in line %d of the request", number+1))
	case !isTokens(name):
		return badRequest(fmt.Sprintf("bad header name in line %d of the request", number+1))
	}
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isControl is about what no line may contain; tabs may be in values.
func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7F }

// isToken reports whether c may be in a method or a header's name, RFC 9110
// 5.6.2.
func isToken(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isTokens(p []byte) bool {
	for _, c := range p {
		if !isToken(c) {
			return false
		}
	}
	return len(p) > 0
}
