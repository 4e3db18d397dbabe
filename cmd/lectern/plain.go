package main

import (
	"net/http"
	"slices"
	"time"

	"lectern/cmd/lectern/internal/config"
	"lectern/cmd/lectern/internal/httpapi"
	"lectern/cmd/lectern/internal/metrics"
)

// answerTimeout bounds a plain HTTP answer, from its first byte to its last.
const answerTimeout = 10 * time.Second

// standardMaxHTTP is the default of --max-http.
const standardMaxHTTP = 256

// maxHTTP returns how many plain HTTP connections there may be at once: with few
// descriptors no more than a quarter of them. It may be called from anywhere.
func (r *relay) maxHTTP() int {
	most := r.current.Load().MaxHTTP
	if most <= 0 {
		most = standardMaxHTTP
	}
	return max(1, min(most, r.limit/4))
}

// httpDescriptors returns how many descriptors plain HTTP connections hold, those
// of the admin address included. It may be called from anywhere.
func (r *relay) httpDescriptors() int {
	open := r.plain.Open()
	if r.adminOn != nil {
		open += r.adminOn.Open()
	}
	return open
}

// newSite returns what answers plain HTTP. SIGHUP may change the key and the hosts.
func (r *relay) newSite() *httpapi.Site {
	return httpapi.New(httpapi.Config{
		Hub:     r.hub,
		Key:     func() string { return r.current.Load().APIKey().Reveal() },
		Sent:    r.sentBytes,
		Leaving: r.leaving.Load,
		IsAdminHost: func(name string) bool {
			return slices.Contains(r.current.Load().AdminHost, config.Hostname(name))
		},
	})
}

func (r *relay) adminHandler(site *httpapi.Site) http.Handler {
	sources := metrics.Sources{
		Hub: r.hub, Pool: r.pool, Data: r.data.stats, HTTP: r.httpDescriptors, Expiries: r.certificates.expiries,
	}
	if r.tls != nil {
		sources.TLS = r.tls.Stats
	}
	figures := metrics.NewHandler(sources)
	var debug http.Handler
	if r.config.Pprof {
		debug = httpapi.Profiles()
	}
	return site.Admin(figures, debug)
}

// sentBytes returns how many bytes the WebSockets' sockets took.
func (r *relay) sentBytes() (n uint64) {
	for _, w := range r.pool.Workers() {
		n += w.Stats().BytesOut
	}
	return n
}
