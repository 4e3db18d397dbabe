package hub

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// A code names a room: three bytes, written as six hexadecimal digits.
type code [3]byte

// drawCode returns a code from a cryptographic source.
func drawCode() (c code) {
	_, _ = rand.Read(c[:]) // never fails: crypto/rand ends the program instead
	return c
}

// parseCode reads a code as a person may type it, in either case.
func parseCode(text string) (c code, ok bool) {
	if len(text) != 2*len(c) {
		return code{}, false
	}
	_, err := hex.Decode(c[:], []byte(text))
	return c, err == nil
}

// String returns the code as it is told: in upper case.
func (c code) String() string { return strings.ToUpper(hex.EncodeToString(c[:])) }
