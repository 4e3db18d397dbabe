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

// AppendViewerToken appends the token of the viewer with the id.
func (r *Room) AppendViewerToken(b []byte, id uint32) []byte {
	var token [4 + viewerMACSize]byte
	binary.BigEndian.PutUint32(token[:], id)
	mac := r.viewerMAC(id)
	copy(token[4:], mac[:])
	return hex.AppendEncode(b, token[:])
}

// A viewerHash makes viewers' MACs. It is used again because hashing its key costs
// as much as the rest.
type viewerHash struct {
	hmac hash.Hash
	text []byte
}

// viewerMAC is called for each viewer that joins.
func (r *Room) viewerMAC(id uint32) (mac [viewerMACSize]byte) {
	h, _ := r.hub.macs.Get().(*viewerHash)
	if h == nil {
		h = &viewerHash{hmac: hmac.New(sha256.New, r.hub.key[:])}
	}
	h.text = append(h.text[:0], r.birth...)
	h.text = r.code.appendKey(h.text)
	h.text = binary.BigEndian.AppendUint32(h.text, id)
	h.hmac.Reset()
	h.hmac.Write(h.text)
	h.text = h.hmac.Sum(h.text[:0])
	copy(mac[:], h.text)
	r.hub.macs.Put(h)
	return mac
}

// viewerOf returns the id that a viewer's token proves.
func (r *Room) viewerOf(token string) (id uint32, ok bool) {
	b, err := hex.DecodeString(token)
	if err != nil || len(b) != 4+viewerMACSize {
		return 0, false
	}
	id = binary.BigEndian.Uint32(b)
	mac := r.viewerMAC(id)
	return id, hmac.Equal(b[4:], mac[:])
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
