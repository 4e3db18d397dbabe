package tlsrecord

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

const ivSize = 12

// A suite is a cipher suite of TLS 1.3 (RFC 8446 B.4).
type suite struct {
	hash    func() hash.Hash
	keySize int
	aead    func(key []byte) (cipher.AEAD, error)

	kernelType uint16 // its number in linux/tls.h
	salt       int    // bytes of the IV that go by that name there
}

var suites = map[uint16]*suite{
	tls.TLS_AES_128_GCM_SHA256:       {sha256.New, 16, newGCM, 51, 4},
	tls.TLS_AES_256_GCM_SHA384:       {sha512.New384, 32, newGCM, 52, 4},
	tls.TLS_CHACHA20_POLY1305_SHA256: {sha256.New, chacha20poly1305.KeySize, chacha20poly1305.New, 54, 0},
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// set begins with a traffic secret (RFC 8446 7.3).
func (h *half) set(s *suite, secret []byte) error {
	key, err := s.expand(secret, "key", s.keySize)
	if err != nil {
		return err
	}
	iv, err := s.expand(secret, "iv", ivSize)
	if err != nil {
		return err
	}
	if h.aead, err = s.aead(key); err != nil {
		return err
	}
	h.suite, h.secret, h.seq = s, append(h.secret[:0], secret...), 0
	copy(h.iv[:], iv)
	return nil
}

// next goes on with the secret that follows (RFC 8446 7.2).
func (h *half) next() {
	secret, err := h.suite.expand(h.secret, "traffic upd", h.suite.hash().Size())
	if err == nil {
		err = h.set(h.suite, secret)
	}
	if err != nil {
		panic(err) // the sizes are right, or New had failed
	}
}

// expand is HKDF-Expand-Label with an empty context (RFC 8446 7.1).
func (s *suite) expand(secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(info, byte(len(label)))
	info = append(append(info, label...), 0)
	return hkdf.Expand(s.hash, secret, string(info), size)
}

// seal appends a record.
func (h *half) seal(dst []byte, kind byte, content []byte) []byte {
	n := len(content) + 1 + tagSize
	begin := len(dst)
	dst = append(dst, typeData, version12>>8, version12&0xff, byte(n>>8), byte(n))
	dst = append(append(dst, content...), kind)
	copy(h.header[:], dst[begin:])
	inner := dst[begin+headerSize:]
	sealed := h.aead.Seal(inner[:0], h.advance(), inner, h.header[:])
	return append(dst[:begin+headerSize], sealed...)
}

// open opens a record in place.
func (h *half) open(record []byte) (inner []byte, err error) {
	copy(h.header[:], record)
	body := record[headerSize:]
	inner, err = h.aead.Open(body[:0], h.advance(), body, h.header[:])
	if err != nil {
		return nil, &Alert{Code: badRecordMAC, Ours: true}
	}
	return inner, nil
}

// advance returns the next record's nonce (RFC 8446 5.3).
func (h *half) advance() []byte {
	h.nonce = h.iv
	for i := range 8 {
		h.nonce[ivSize-8+i] ^= byte(h.seq >> (56 - 8*i))
	}
	h.seq++
	return h.nonce[:]
}

// kernelInfo returns a direction's keys as setsockopt takes them for TLS_TX and TLS_RX:
// the tls12_crypto_info structures of linux/tls.h.
func (h *half) kernelInfo() []byte {
	key, err := h.suite.expand(h.secret, "key", h.suite.keySize)
	if err != nil {
		return nil
	}
	b := binary.NativeEndian.AppendUint16(nil, version13)
	b = binary.NativeEndian.AppendUint16(b, h.suite.kernelType)
	b = append(b, h.iv[h.suite.salt:]...)
	b = append(b, key...)
	b = append(b, h.iv[:h.suite.salt]...)
	return binary.BigEndian.AppendUint64(b, h.seq)
}
