package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"

	"lectern/hub"
)

var (
	errWrongKey    = &problem{http.StatusUnauthorized, "this is not the API key"}
	errTooManyKeys = &problem{http.StatusTooManyRequests, "too many wrong API keys came from this address; try again in a minute"}
)

// authorize checks the API key of a request, which comes as
// `Authorization: Bearer KEY` (RFC 6750 2.1). Wrong keys are counted for each
// client, a missing one is no guess. The right one always passes, so that nobody
// can lock out others behind the same address; it is too long to be guessed.
func (a *api) authorize(r *http.Request) error {
	want := a.key()
	if want == "" {
		return &problem{http.StatusForbidden, "this relay has no API key, so its API is off"}
	}
	given, ok := bearer(r.Header)
	if !ok {
		return &problem{http.StatusUnauthorized, "this needs the API key, as Authorization: Bearer KEY"}
	}
	// Hashed, so that the time tells nothing of the length either.
	have, need := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	if subtle.ConstantTimeCompare(have[:], need[:]) == 1 {
		return nil
	}
	from := a.client(r)
	if a.hub.TooManyGuesses(from) {
		return errTooManyKeys
	}
	a.hub.GuessedKey(from)
	return errWrongKey
}

// bearer returns the key that a request's header has. Two are none: a proxy in
// between might have judged by the other.
func bearer(h http.Header) (key string, ok bool) {
	lines := h.Values("Authorization")
	if len(lines) != 1 {
		return "", false
	}
	scheme, key, _ := strings.Cut(lines[0], " ")
	key = strings.Trim(key, " ")
	return key, strings.EqualFold(scheme, "Bearer") && key != ""
}

// client returns the address of whoever asks, as trusted proxies tell it.
func (a *api) client(r *http.Request) netip.Addr { return clientOf(a.hub, r) }

// clientOf returns the address of whoever asks, as trusted proxies tell it.
func clientOf(h *hub.Hub, r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero one if there is none
	return h.Config().Client(peer.Addr(), forwardedFor(r))
}

// forwardedFor returns the X-Forwarded-For lines of a request as one.
func forwardedFor(r *http.Request) string {
	return strings.Join(r.Header.Values("X-Forwarded-For"), ", ")
}
