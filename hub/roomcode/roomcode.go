package hub

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
)

// A code names a room. It holds the characters without the dash: eight of
// codeAlphabet, or six hexadecimal digits and two zero bytes. A relay creates
// codes of one form ([Config.HexCodes]) but looks up both, because restored
// rooms may have the other.
type code [codeSize]byte

const (
	codeSize = 8
	hexSize  = 6 // length of a hexadecimal code
	codeHalf = codeSize / 2
)

// codeAlphabet is Crockford's base32: no I, L, O and U.
const codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// drawCode returns a random code from a cryptographic source.
func drawCode(hexadecimal bool) (c code) {
	_, _ = rand.Read(c[:]) // never fails: crypto/rand ends the program instead
	alphabet, length := codeAlphabet, codeSize
	if hexadecimal {
		alphabet, length = codeAlphabet[:16], hexSize
	}
	for i := range length {
		c[i] = alphabet[int(c[i])%len(alphabet)] // both alphabet lengths divide 256
	}
	clear(c[length:])
	return c
}

// maxTyped is the longest text, in bytes, that may be a code: its characters
// with some dashes and spaces.
const maxTyped = 32

// parseCode parses a code as a person may type it: in upper or lower case, with
// dashes and spaces anywhere, O for 0, and I or L for 1.
func parseCode(text string) (c code, ok bool) {
	if len(text) > maxTyped {
		return code{}, false
	}
	n, digits := 0, true
	for _, typed := range []byte(text) {
		if typed == '-' || typed == ' ' {
			continue
		}
		char, known := codeChar(typed)
		if !known || n == codeSize {
			return code{}, false
		}
		c[n] = char
		n++
		digits = digits && char <= 'F'
	}
	return c, n == codeSize || n == hexSize && digits
}

// codeChar returns the character of a code that a typed character stands for.
func codeChar(typed byte) (char byte, ok bool) {
	if 'a' <= typed && typed <= 'z' {
		typed -= 'a' - 'A'
	}
	switch {
	case typed == 'O':
		return '0', true
	case typed == 'I', typed == 'L':
		return '1', true
	case typed == 'U':
		return 0, false
	}
	return typed, '0' <= typed && typed <= '9' || 'A' <= typed && typed <= 'Z'
}

// withSecret matches a code that is followed by the room's secret.
var withSecret = regexp.MustCompile(`(?s)^(\w{4}[- ]?\w{4}|\w{6})-(.+)$`)

// cutSecret splits a code from the secret that follows it, as in
// K7QM-2XHD-geheim. found is false if the whole text is a code, or if it does
// not begin with one.
func cutSecret(text string) (typed, secret string, found bool) {
	if _, whole := parseCode(text); whole {
		return text, "", false
	}
	parts := withSecret.FindStringSubmatch(text)
	if parts == nil {
		return text, "", false
	}
	if _, ok := parseCode(parts[1]); !ok {
		return text, "", false
	}
	return parts[1], parts[2], true
}

// hexadecimal reports whether the code has six hexadecimal digits.
func (c code) hexadecimal() bool { return c[hexSize] == 0 }

// String returns the code in its canonical form: K7QM-2XHD or A1B2C3.
func (c code) String() string { return string(c.appendText(nil)) }

func (c code) appendText(b []byte) []byte {
	if c.hexadecimal() {
		return append(b, c[:hexSize]...)
	}
	b = append(b, c[:codeHalf]...)
	b = append(b, '-')
	return append(b, c[codeHalf:]...)
}

// appendKey appends the bytes that viewers' tokens are made with. A code of six
// digits gives three bytes, as in older relays, so that their tokens stay
// valid.
func (c code) appendKey(b []byte) []byte {
	if !c.hexadecimal() {
		return append(b, c[:]...)
	}
	key, err := hex.AppendDecode(b, c[:hexSize])
	if err != nil {
		return append(b, c[:]...) // the zero code, which no room has
	}
	return key
}

// ParseCode parses a room's code as a person may type it, and returns it in its
// canonical form. ok is false if the text does not have the form of a code.
func ParseCode(text string) (canonical string, ok bool) {
	c, ok := parseCode(text)
	if !ok {
		return "", false
	}
	return c.String(), true
}
