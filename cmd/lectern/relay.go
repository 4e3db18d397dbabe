package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"lectern/cmd/lectern/internal/config"
	"lectern/cmd/lectern/internal/httpapi"
	"lectern/cmd/lectern/internal/resources"
	"lectern/cmd/lectern/internal/systemd"
	"lectern/hub"
	"lectern/hub/classroom"
	"lectern/hub/echo"
	"lectern/netpoll"
	"lectern/netpoll/tlstransport"
)

// A relay is everything that runs while the process serves.
type relay struct {
	log          *slog.Logger
	config       *config.Options                 // immutable; as at the start
	current      atomic.Pointer[config.Settings] // in force
	level        *slog.LevelVar
	limit        int         // descriptors
	viewers      int         // WebSockets that they suffice for
	leaving      atomic.Bool // the relay was told to end
	pool         *netpoll.Pool
	certificates *certificateKeeper
	tls          *tlstransport.Server // nil without certificates
	hub          *hub.Hub
	data         dataKeeper
	listener     *netpoll.Listener
	inherited    bool          // immutable; the service manager keeps the listener's socket open
	accepted     chan struct{} // closed when no more connections are accepted
	plain        *handover     // connections on their way to net/http
	web          *http.Server  // plain HTTP on the relay's own port
	admin        *http.Server  // nil without an admin address
	adminOn      *httpapi.AdminListener
}

// newRelay opens the listeners, and logs to w. Nothing is served before run.
func newRelay(s *config.Settings, w io.Writer) (*relay, error) {
	limit, err := resources.RaiseDescriptors()
	if err != nil {
		return nil, err
	}
	r := &relay{config: &s.Options, level: new(slog.LevelVar), limit: limit, accepted: make(chan struct{})}
	r.current.Store(s)
	r.level.Set(slog.Level(s.LogLevel))
	r.log = newLogger(w, s.LogFormat, r.level)
	log := r.log
	conf := netpoll.Config{
		Workers: resources.Workers(s.Workers),
		Failed:  func(err error) { log.Error("reactor", "error", err) },
		Hold:    r.hold,
	}
	tlsBy := r.tlsBy()
	conf.KernelTLS = tlsBy == "kernel"
	resources.UseProcessors(conf.Workers)
	conf.MaxConns = resources.MaxConns(limit, conf.Workers)
	r.viewers = resources.MaxWebSockets(conf.MaxConns)
	r.pool, err = netpoll.New(conf)
	if err != nil {
		return nil, err
	}
	if err := r.listen(); err != nil {
		return nil, errors.Join(err, r.pool.Close())
	}

	workers := make([]hub.Worker, len(r.pool.Workers()))
	for i, w := range r.pool.Workers() {
		workers[i] = w
	}
	r.plain = newHandover(r.listener.Addr(), r.maxHTTP)
	r.hub = newHub(r.hubConfig(s), workers, s.Echo)
	memory, err := resources.LimitMemory(int64(s.Memory))
	if err != nil {
		log.Warn("no limit for the memory", "error", err)
	}
	r.hub.Budget().SetLimit(memory)
	r.plain.hub = r.hub
	r.certificates, err = openCertificates(context.Background(), r.config, r.listener.Addr().String(), log)
	if err != nil {
		return nil, errors.Join(err, r.closeListeners(), r.pool.Close())
	}
	if config := r.certificates.tlsConfig(); config != nil {
		r.tls = r.newTLS(config)
	}
	if err := r.openData(); err != nil {
		return nil, errors.Join(err, r.certificates.stop(), r.closeListeners(), r.pool.Close())
	}

	site := r.newSite()
	r.web = httpapi.NewServer(site.Public(), log)
	r.web.ConnState = r.plain.track
	if r.adminOn != nil {
		r.admin = httpapi.NewAdminServer(r.adminHandler(site), log)
	}
	viewers := r.hub.Config().MaxConnections
	log.Info("relay listens",
		"addr", nameOf(r.listener.Addr()), "tls", tlsBy, "admin", r.adminAddr(), "version", version, "workers", len(workers),
		"memory", humanize.IBytes(uint64(memory)), "descriptors", limit, "viewers", viewers, "drain", r.drainTime(viewers))
	r.warnIfDrainIsCut(viewers)
	r.warn()
	return r, nil
}

func newLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// hubConfig adds to the settings what only the process knows. It warns if there are
// fewer descriptors than --max-connections needs.
func (r *relay) hubConfig(s *config.Settings) hub.Config {
	c := hubConfig(s)
	c.Plain = r.plain.take
	c.Crowded = r.pool.Crowded
	if r.listener.Addr().Network() != "unix" { // a TCP peer without an address has gone
		c.TrustedProxies = slices.DeleteFunc(c.TrustedProxies, func(p netip.Prefix) bool { return !p.IsValid() })
	}
	if fits := r.viewers; c.MaxConnections == 0 || c.MaxConnections > fits {
		if c.MaxConnections > 0 && s.IsGiven("max-connections") {
			r.log.Warn("fewer descriptors than connections", "max_connections", c.MaxConnections, "descriptors", r.limit, "viewers", fits)
		}
		c.MaxConnections = fits
	}
	return c
}

// warn logs the warnings about the settings in force.
func (r *relay) warn() {
	addr := nameOf(r.listener.Addr())
	for _, warning := range r.current.Load().Warnings(addr) {
		r.log.Warn(warning, "addr", addr)
	}
}

// closeListeners ends a relay that never served.
func (r *relay) closeListeners() error {
	err := r.listener.Close()
	if r.adminOn != nil {
		err = errors.Join(err, r.adminOn.Close())
	}
	return err
}

// adminAddr returns the address of the admin listener, empty if there is none.
func (r *relay) adminAddr() string {
	if r.adminOn == nil {
		return ""
	}
	return nameOf(r.adminOn.Addr())
}

// run serves until ctx ends or something fails, then drains and stops
// everything.
func (r *relay) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	serve := func(what string, f func() error) {
		all.Go(func() {
			if err := f(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				cancel(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	r.data.run()
	workers := indexed(r.pool.Workers())
	session := func(w *netpoll.Worker, c hub.Conn) *hub.Session { return r.hub.NewSession(workers[w], c) }
	r.plain.opener = func(w *netpoll.Worker, c hub.Conn) netpoll.Session { return session(w, c) }
	open := r.throughTLS(session)
	serve("relay", func() error {
		defer close(r.accepted)
		if r.config.ProxyProtocol {
			return r.pool.Serve(r.listener, open.behind(r.hub))
		}
		return r.pool.Serve(r.listener, open.direct())
	})
	serve("http", func() error { return r.web.Serve(r.plain) })
	if r.admin != nil {
		serve("admin", func() error { return r.admin.Serve(r.adminOn) })
	}
	r.certificates.run(cancel)
	all.Go(func() { resources.NewMemoryKeeper(r.hub).Run(ctx) })
	all.Go(func() { r.logRefusals(ctx) })
	working, ended := context.WithCancel(context.Background())
	all.Go(func() { r.feedWatchdog(working) })
	r.tell(systemd.Ready())

	<-ctx.Done()
	err := context.Cause(ctx)
	r.tell(systemd.Stopping(r.stopTime()))
	if errors.Is(err, context.Canceled) {
		err = nil // a signal ended it, or the caller
		r.delayShutdown()
	}
	err = errors.Join(err, r.stop())
	cancel(nil)
	ended()
	all.Wait()
	return err
}

// stop drains the connections within the drain timeout, and ends everything.
func (r *relay) stop() error {
	began := time.Now()
	connections := int(r.hub.Connections())
	timeout := drainTimeout(r.current.Load().DrainTimeout, connections)
	r.log.Info("relay drains", "connections", connections, "drain", r.drainTime(connections), "timeout", timeout)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	errs := []error{r.certificates.stop(), r.listener.Close()} // in this order: a challenge may listen where nobody does
	r.settle()
	r.hub.Drain()
	cut := r.pool.Drain(ctx)
	errs = append(errs, end(ctx, r.web), r.plain.Close())
	if r.admin != nil {
		errs = append(errs, end(ctx, r.admin))
	}
	errs = append(errs, r.pool.Close(), r.data.stop())
	if r.tls != nil {
		r.tls.Wait()
	}
	r.log.Info("relay ended", "drained_in", time.Since(began).Round(time.Millisecond), "cut_off", cut)
	return errors.Join(errs...)
}

// end lets an HTTP server finish its requests until ctx ends. Requests that take longer
// are cut off, which is no error.
func end(ctx context.Context, server *http.Server) error {
	err := server.Shutdown(ctx)
	if ctx.Err() != nil {
		err = server.Close()
	}
	return err
}

// indexed maps each worker to its index.
func indexed(workers []*netpoll.Worker) map[*netpoll.Worker]int {
	places := make(map[*netpoll.Worker]int, len(workers))
	for i, w := range workers {
		places[w] = i
	}
	return places
}

// newHub returns a hub that speaks the relay's dialects. Messages are sent back at
// echoPath unless it is empty.
func newHub(config hub.Config, workers []hub.Worker, echoPath string) *hub.Hub {
	h := hub.New(config, workers)
	lectures := classroom.New()
	h.Serve(lectures, "/", "/v1/websocket")
	h.ServeEvents(classroom.NewEvents(), "/v1/rooms/", "/events", lectures)
	if echoPath != "" {
		h.Serve(echo.Dialect{}, echoPath)
	}
	return h
}
