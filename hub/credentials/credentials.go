// Package credentials makes and checks what proves who a client is: hosts' and
// viewers' tokens, and the hashes of secrets.
package credentials

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"sync"

	"lectern/hub/roomcode"
)

// A HostToken proves that its bearer is a room's host. It is 128 random bits;
// the relay keeps only its hash.
type HostToken [16]byte

// DrawHostToken returns a random token.
func DrawHostToken() (t HostToken) {
	_, _ = rand.Read(t[:]) // never fails: crypto/rand ends the program instead
	return t
}

// String returns the token as clients see it.
func (t HostToken) String() string { return hex.EncodeToString(t[:]) }

// Hash returns the token's hash.
func (t HostToken) Hash() Hash { return HashOf(t.String()) }

// A viewer's token is its id and the beginning of an HMAC (RFC 2104) over the
// room and the id, so the relay stores nothing for it. The room's first epoch
// is part of it, so that it is not valid in a later room with the same code.
const viewerMACSize = 16

// ViewerTokens makes and checks the tokens of viewers. Its methods may be called
// from any goroutine.
type ViewerTokens struct {
	Key  [32]byte  // must not change once it is used
	macs sync.Pool // of *viewerHash, each with that key
}

// Append appends the token of the viewer with the id in a room, which is given
// by its first epoch and its code.
func (v *ViewerTokens) Append(b []byte, birth string, room roomcode.Code, id uint32) []byte {
	var token [4 + viewerMACSize]byte
	binary.BigEndian.PutUint32(token[:], id)
	mac := v.mac(birth, room, id)
	copy(token[4:], mac[:])
	return hex.AppendEncode(b, token[:])
}

// Check returns the id in a viewer's token, and whether the token is authentic
// in the room.
func (v *ViewerTokens) Check(token, birth string, room roomcode.Code) (id uint32, ok bool) {
	b, err := hex.DecodeString(token)
	if err != nil || len(b) != 4+viewerMACSize {
		return 0, false
	}
	id = binary.BigEndian.Uint32(b)
	mac := v.mac(birth, room, id)
	return id, hmac.Equal(b[4:], mac[:])
}

// A viewerHash computes viewers' MACs. It is reused because hashing its key
// costs as much as the rest.
type viewerHash struct {
	hmac hash.Hash
	text []byte
}

// mac returns the MAC in a viewer's token. It runs for each viewer that joins.
func (v *ViewerTokens) mac(birth string, room roomcode.Code, id uint32) (mac [viewerMACSize]byte) {
	h, _ := v.macs.Get().(*viewerHash)
	if h == nil {
		h = &viewerHash{hmac: hmac.New(sha256.New, v.Key[:])}
	}
	h.text = append(h.text[:0], birth...)
	h.text = room.AppendKey(h.text)
	h.text = binary.BigEndian.AppendUint32(h.text, id)
	h.hmac.Reset()
	h.hmac.Write(h.text)
	h.text = h.hmac.Sum(h.text[:0])
	copy(mac[:], h.text)
	v.macs.Put(h)
	return mac
}

// A Hash is the hash of a room's secret or of a host's token. The zero value
// stands for none.
type Hash [sha256.Size]byte

// HashOf returns the hash of a text.
func HashOf(text string) Hash { return sha256.Sum256([]byte(text)) }

// IsSet reports whether h is the hash of something.
func (h Hash) IsSet() bool { return h != Hash{} }

// Matches reports whether text has this hash, in constant time.
func (h Hash) Matches(text string) bool {
	given := HashOf(text)
	return subtle.ConstantTimeCompare(h[:], given[:]) == 1
}

// MarshalText returns the hash in hexadecimal digits, for the store.
func (h Hash) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h[:])), nil }

// UnmarshalText parses the result of MarshalText.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return errors.New("credentials: a hash has 64 hexadecimal digits")
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// DrawTicket returns a random ticket, of 128 bits.
func DrawTicket() string { return DrawHostToken().String() }

// IsHostToken reports whether a token has the form of a host's, and not that of a
// viewer's.
func IsHostToken(token string) bool { return len(token) == hex.EncodedLen(len(HostToken{})) }
