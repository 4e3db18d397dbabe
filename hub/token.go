package hub

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
)

// A hostToken proves that one is a room's host: 128 random bits. The relay keeps
// its hash alone.
type hostToken [16]byte

func drawToken() (t hostToken) {
	_, _ = rand.Read(t[:]) // never fails: crypto/rand ends the program instead
	return t
}

// String returns the token as it is told.
func (t hostToken) String() string { return hex.EncodeToString(t[:]) }

func (t hostToken) hash() secret { return hashSecret(t.String()) }

// A viewer's token is its id and the beginning of an HMAC (RFC 2104) over room
// and id, so the relay keeps nothing for it. The room's first epoch keeps it from
// being valid in a later room with the same code.
const viewerMACSize = 16

// viewerToken returns the token of the viewer with the id.
func (r *Room) viewerToken(id uint32) string {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+viewerMACSize), id)
	return hex.EncodeToString(append(b, r.viewerMAC(id)...))
}

// viewerMAC is called for each viewer that joins. A MAC that is used again does not
// hash its key again.
func (r *Room) viewerMAC(id uint32) []byte {
	h := r.hub
	mac, _ := h.macs.Get().(hash.Hash)
	if mac == nil {
		mac = hmac.New(sha256.New, h.key[:])
	}
	mac.Reset()
	mac.Write([]byte(r.birth))
	mac.Write(r.code.bytes())
	mac.Write(binary.BigEndian.AppendUint32(nil, id))
	sum := mac.Sum(nil)[:viewerMACSize]
	h.macs.Put(mac)
	return sum
}

// viewerOf returns the id that a viewer's token proves.
func (r *Room) viewerOf(token string) (id uint32, ok bool) {
	b, err := hex.DecodeString(token)
	if err != nil || len(b) != 4+viewerMACSize {
		return 0, false
	}
	id = binary.BigEndian.Uint32(b)
	return id, hmac.Equal(b[4:], r.viewerMAC(id))
}

// drawEpoch returns a random name for a room's life.
func drawEpoch() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// A secret is what joiners must give, or what proves that one is the host, as its
// hash; the zero secret asks for nothing.
type secret [sha256.Size]byte

func hashSecret(text string) secret { return sha256.Sum256([]byte(text)) }

func (s secret) asked() bool { return s != secret{} }

// MarshalText returns the hash in hexadecimal digits, for what is kept of a room.
func (s secret) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(s[:])), nil }

// UnmarshalText takes what MarshalText gives.
func (s *secret) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(s)) {
		return errors.New("a hash has 64 hexadecimal digits")
	}
	_, err := hex.Decode(s[:], text)
	return err
}

// is compares a secret with what a client says, in constant time.
func (s secret) is(text string) bool {
	given := hashSecret(text)
	return subtle.ConstantTimeCompare(s[:], given[:]) == 1
}
