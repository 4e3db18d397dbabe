package certificates

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Redirect returns the handler of plain HTTP. It answers the challenges of ACME,
// and redirects all other requests to https with 308, which keeps the method.
// httpsAddr is the address of the TLS listener; its port becomes part of the
// location unless it is 443. Requests for other hosts than the relay's own are
// refused, so nobody can use the relay to make a link look harmless.
func (c *Certificates) Redirect(httpsAddr string) http.Handler {
	port := ""
	if _, p, err := net.SplitHostPort(httpsAddr); err == nil && p != "443" && p != "https" {
		port = p
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		host := hostOf(r.Host)
		if !c.isOwn(host) {
			http.Error(w, "this relay has another name", http.StatusMisdirectedRequest)
			return
		}
		if strings.HasPrefix(r.URL.Path, challengePath) {
			if c.acme == nil || !c.acme.answerChallenge(w, r, host) {
				http.Error(w, "there is no such challenge", http.StatusNotFound)
			}
			return
		}
		if !strings.HasPrefix(r.URL.Path, "/") { // OPTIONS *, or CONNECT
			http.Error(w, "the request has no path", http.StatusBadRequest)
			return
		}
		to := url.URL{Scheme: "https", Host: authority(host, port), Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, to.String(), http.StatusPermanentRedirect)
	})
}

// challengePath begins the paths that a CA asks for (RFC 8555 8.3).
const challengePath = "/.well-known/acme-challenge/"

// hostOf returns the name in a Host header, in lower case and without the port.
func hostOf(header string) string {
	host := header
	if name, _, err := net.SplitHostPort(header); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// authority returns host and port as a URL has them.
func authority(host, port string) string {
	if port != "" {
		return net.JoinHostPort(host, port)
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
