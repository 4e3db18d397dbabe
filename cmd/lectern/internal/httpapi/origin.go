package httpapi

import (
	"net/http"
	"net/netip"
	"strings"

	"lectern/hub"
)

// Origins: the pages that may use the API, by the same rule as for WebSockets, and
// the headers by which a browser learns of it (CORS, Fetch standard 3.2).

// corsTime is how many seconds a browser may remember the answer to a preflight.
const corsTime = "600"

// maxOrigin is how many bytes of an origin an answer repeats.
const maxOrigin = 200

// origins passes requests of pages that may use the API, with the headers for the
// browser.
func (s *Site) origins(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		lines := request.Header.Values("Origin")
		if len(lines) > 1 {
			refuse(w, badRequest("Origin is given more than once"))
			return
		}
		origin := strings.Join(lines, "")
		peer, _ := netip.ParseAddrPort(request.RemoteAddr) // zero if there is none
		if !s.Hub.Config().AllowsOrigin(origin, request.Host, peer.Addr(), forwardedFor(request)) {
			s.Hub.Refused("origin", clientOf(s.Hub, request))
			refusal{&hub.Refusal{Kind: hub.OriginNotAllowed, Text: origin[:min(len(origin), maxOrigin)]}}.write(w)
			return
		}
		if origin != "" {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "Idempotent-Replayed, Location, Retry-After")
		}
		next.ServeHTTP(w, request)
	})
}

// preflight answers OPTIONS. It needs no key, because browsers send none with it.
func preflight(w http.ResponseWriter, request *http.Request, allow string) {
	h := w.Header()
	h.Set("Allow", allow)
	if request.Header.Get("Origin") != "" {
		h.Set("Access-Control-Allow-Methods", allow)
		h.Add("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID")
		h.Set("Access-Control-Max-Age", corsTime)
	}
	w.WriteHeader(http.StatusNoContent)
}
