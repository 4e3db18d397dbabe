// Package roomcode is the codes that name rooms: how they are drawn, typed and
// shown.
package roomcode

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
)

// A Code names a room. It holds the characters without the dash: eight of
// the alphabet, or six hexadecimal digits and two zero bytes. A relay creates
// codes of one form but looks up both, because restored rooms may have the
// other. The zero Code names no room.
type Code [size]byte

const (
	size    = 8
	hexSize = 6 // length of a hexadecimal code
	half    = size / 2
)

// alphabet is Crockford's base32: no I, L, O and U.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// Draw returns a random code from a cryptographic source.
func Draw(hexadecimal bool) (c Code) {
	_, _ = rand.Read(c[:]) // never fails: crypto/rand ends the program instead
	chars, length := alphabet, size
	if hexadecimal {
		chars, length = alphabet[:16], hexSize
	}
	for i := range length {
		c[i] = chars[int(c[i])%len(chars)] // both lengths divide 256
	}
	clear(c[length:])
	return c
}

// maxTyped is the longest text, in bytes, that may be a code: its characters
// with some dashes and spaces.
const maxTyped = 32

// Parse parses a code as a person may type it: in upper or lower case, with
// dashes and spaces anywhere, O for 0, and I or L for 1.
func Parse(text string) (c Code, ok bool) {
	if len(text) > maxTyped {
		return Code{}, false
	}
	n, digits := 0, true
	for _, typed := range []byte(text) {
		if typed == '-' || typed == ' ' {
			continue
		}
		char, known := character(typed)
		if !known || n == size {
			return Code{}, false
		}
		c[n] = char
		n++
		digits = digits && char <= 'F'
	}
	return c, n == size || n == hexSize && digits
}

// character returns the character of a code that a typed character stands for.
func character(typed byte) (char byte, ok bool) {
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

// CutSecret splits a code from the secret that follows it, as in
// K7QM-2XHD-geheim. found is false if the whole text is a code, or if it does
// not begin with one.
func CutSecret(text string) (typed, secret string, found bool) {
	if _, whole := Parse(text); whole {
		return text, "", false
	}
	parts := withSecret.FindStringSubmatch(text)
	if parts == nil {
		return text, "", false
	}
	if _, ok := Parse(parts[1]); !ok {
		return text, "", false
	}
	return parts[1], parts[2], true
}

// hexadecimal reports whether the code has six hexadecimal digits.
func (c Code) hexadecimal() bool { return c[hexSize] == 0 }

// String returns the code in its canonical form: K7QM-2XHD or A1B2C3.
func (c Code) String() string { return string(c.AppendText(nil)) }

// AppendText appends the code in its canonical form.
func (c Code) AppendText(b []byte) []byte {
	if c.hexadecimal() {
		return append(b, c[:hexSize]...)
	}
	b = append(b, c[:half]...)
	b = append(b, '-')
	return append(b, c[half:]...)
}

// AppendKey appends the bytes that viewers' tokens are made with. A code of six
// digits gives three bytes, as in older relays, so that their tokens stay
// valid.
func (c Code) AppendKey(b []byte) []byte {
	if !c.hexadecimal() {
		return append(b, c[:]...)
	}
	key, err := hex.AppendDecode(b, c[:hexSize])
	if err != nil {
		return append(b, c[:]...) // the zero code, which no room has
	}
	return key
}
