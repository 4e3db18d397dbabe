package main

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"

	"lectern/frame"
	"lectern/hub"
	"lectern/hub/budget"
	"lectern/netpoll"
	"lectern/netpoll/tlstransport"
)

// newTLS returns the server of the relay's handshakes.
func (r *relay) newTLS(config *tls.Config) *tlstransport.Server {
	return tlstransport.NewServer(tlstransport.Config{
		TLS:    config,
		Plain:  frame.AppendRefusal(nil, http.StatusBadRequest, "this port speaks TLS; use https or wss in the address"),
		Full:   func() bool { return r.hub.Budget().Level() >= budget.Full },
		Failed: func(from netip.Addr, err error) { r.hub.Refused(tlsCause(err), from) },
	})
}

// tlsBy tells what makes the TLS records: "kernel" or "relay", or "off" without TLS.
func (r *relay) tlsBy() string {
	switch {
	case !r.config.HasTLS():
		return "off"
	case r.config.KTLS == "auto" && netpoll.KernelTLS() == nil:
		return "kernel"
	}
	return "relay"
}

// throughTLS has connections go through TLS, if the relay has a certificate, to the
// sessions that open makes.
func (r *relay) throughTLS(open func(*netpoll.Worker, hub.Conn) *hub.Session) opener {
	return func(w *netpoll.Worker, c hub.Conn) netpoll.Session {
		session := open(w, c)
		if r.tls != nil {
			r.tls.Accept(w, socketOf(c), network(c.Peer()), session.Begin)
		}
		return session
	}
}

// tlsCauses are the causes under which failed handshakes are counted.
var tlsCauses = map[error]string{
	tlstransport.ErrPlain:     "tls_plain",
	tlstransport.ErrNotTLS:    "tls_not",
	tlstransport.ErrHello:     "tls_hello",
	tlstransport.ErrDisplaced: "tls_displaced",
	tlstransport.ErrMemory:    "tls_memory",
}

func tlsCause(err error) string {
	for is, cause := range tlsCauses {
		if errors.Is(err, is) {
			return cause
		}
	}
	return "tls_handshake"
}

// hold counts what the connections' transports hold, and reports whether there is memory
// for more.
func (r *relay) hold(n int64) (ok bool) {
	memory := r.hub.Budget()
	memory.Add(budget.TLS, n)
	return memory.Counted() < budget.Over
}
