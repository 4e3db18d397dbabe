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

// A hostToken proves that its bearer is a room's host. It is 128 random bits;
// the relay keeps only its hash.
type hostToken [16]byte

func drawToken() (t hostToken) {
	_, _ = rand.Read(t[:]) // never fails: crypto/rand ends the program instead
	return t
}

// String returns the token as clients see it.
func (t hostToken) String() string { return hex.EncodeToString(t[:]) }

func (t hostToken) hash() secretHash { return hashSecret(t.String()) }

// A viewer's token is its id and the beginning of an HMAC (RFC 2104) over the
// room and the id, so the relay stores nothing for it. The room's first epoch
// is part of it, so that it is not valid in a later room with the same code.
const viewerMACSize = 16

// AppendViewerToken appends the token of the viewer with the id.
func (r *Room) AppendViewerToken(b []byte, id uint32) []byte {
	var token [4 + viewerMACSize]byte
	binary.BigEndian.PutUint32(token[:], id)
	mac := r.viewerMAC(id)
	copy(token[4:], mac[:])
	return hex.AppendEncode(b, token[:])
}

// A viewerHash computes viewers' MACs. It is reused because hashing its key
// costs as much as the rest.
type viewerHash struct {
	hmac hash.Hash
	text []byte
}

// viewerMAC returns the MAC in a viewer's token. It runs for each viewer that
// joins.
func (r *Room) viewerMAC(id uint32) (mac [viewerMACSize]byte) {
	h, _ := r.hub.macs.Get().(*viewerHash)
	if h == nil {
		h = &viewerHash{hmac: hmac.New(sha256.New, r.hub.key[:])}
	}
	h.text = append(h.text[:0], r.birth...)
	h.text = r.code.AppendKey(h.text)
	h.text = binary.BigEndian.AppendUint32(h.text, id)
	h.hmac.Reset()
	h.hmac.Write(h.text)
	h.text = h.hmac.Sum(h.text[:0])
	copy(mac[:], h.text)
	r.hub.macs.Put(h)
	return mac
}

// viewerOf returns the id in a viewer's token, and whether the token is
// authentic.
func (r *Room) viewerOf(token string) (id uint32, ok bool) {
	b, err := hex.DecodeString(token)
	if err != nil || len(b) != 4+viewerMACSize {
		return 0, false
	}
	id = binary.BigEndian.Uint32(b)
	mac := r.viewerMAC(id)
	return id, hmac.Equal(b[4:], mac[:])
}

// drawEpoch returns a random name for an epoch.
func drawEpoch() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// A secretHash is the hash of a room's secret or of a host's token. The zero
// value stands for none.
type secretHash [sha256.Size]byte

func hashSecret(text string) secretHash { return sha256.Sum256([]byte(text)) }

func (s secretHash) isSet() bool { return s != secretHash{} }

// MarshalText returns the hash in hexadecimal digits, for the store.
func (s secretHash) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(s[:])), nil }

// UnmarshalText parses the result of MarshalText.
func (s *secretHash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(s)) {
		return errors.New("a hash has 64 hexadecimal digits")
	}
	_, err := hex.Decode(s[:], text)
	return err
}

// matches reports whether text has this hash, in constant time.
func (s secretHash) matches(text string) bool {
	given := hashSecret(text)
	return subtle.ConstantTimeCompare(s[:], given[:]) == 1
}
