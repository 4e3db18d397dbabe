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
// `Authorization: Bearer KEY` (RFC 6750 2.1). It counts wrong keys for each client, but
// no missing ones. The right key always passes, so that nobody can lock out others
// behind the same address; the key is too long to be found by trying.
func (a *api) authorize(r *http.Request) error {
	want := a.key()
	if want == "" {
		return &problem{http.StatusForbidden, "this relay has no API key, so its API is off"}
	}
	given, ok := bearer(r.Header)
	if !ok {
		return &problem{http.StatusUnauthorized, "this needs the API key, as Authorization: Bearer KEY"}
	}
	// Comparing hashes takes the same time whatever the length of the given key.
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

// bearer returns the key in a request's header. It takes no header with two lines,
// because a proxy in between may have judged by the other line.
func bearer(h http.Header) (key string, ok bool) {
	lines := h.Values("Authorization")
	if len(lines) != 1 {
		return "", false
	}
	scheme, key, _ := strings.Cut(lines[0], " ")
	key = strings.Trim(key, " ")
	return key, strings.EqualFold(scheme, "Bearer") && key != ""
}

// client returns the address of the client, as trusted proxies report it.
func (a *api) client(r *http.Request) netip.Addr { return clientOf(a.hub, r) }

// clientOf returns the address of the client, as trusted proxies report it.
func clientOf(h *hub.Hub, r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // zero if there is none
	return h.Config().Client(peer.Addr(), forwardedFor(r))
}

// forwardedFor returns the X-Forwarded-For lines of a request as one.
func forwardedFor(r *http.Request) string {
	return strings.Join(r.Header.Values("X-Forwarded-For"), ", ")
}
