package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"lectern/hub"
	"lectern/netpoll"
)

// A relay is everything that runs while the process serves.
type relay struct {
	log      *slog.Logger
	config   *options                 // immutable; as at the start
	current  atomic.Pointer[settings] // what is in force
	level    *slog.LevelVar
	limit    int         // descriptors
	viewers  int         // WebSockets that they are enough for
	leaving  atomic.Bool // the relay was told to end
	pool     *netpoll.Pool
	hub      *hub.Hub
	data     dataKeeper
	listener *netpoll.Listener
	plain    *handover    // connections on their way to web
	web      *http.Server // plain HTTP on the relay's own port
	admin    *http.Server // nil without an admin address
	adminOn  *boundedListener
}

// newRelay opens the listeners, and logs to w. Nothing is served before run.
func newRelay(s *settings, w io.Writer) (*relay, error) {
	limit, err := raiseDescriptors()
	if err != nil {
		return nil, err
	}
	r := &relay{config: s.options, level: new(slog.LevelVar), limit: limit}
	r.current.Store(s)
	r.level.Set(slog.Level(s.LogLevel))
	r.log = newLogger(w, s.LogFormat, r.level)
	log := r.log
	conf := netpoll.Config{
		Workers: useProcessors(s.Workers),
		Failed:  func(err error) { log.Error("reactor", "error", err) },
	}
	conf.MaxConns = maxConns(limit, conf.Workers)
	r.viewers = maxWebSockets(conf.MaxConns)
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
	r.hub = hub.New(r.hubConfig(s), workers)
	memory, err := limitMemory(s.Memory)
	if err != nil {
		log.Warn("no limit for the memory", "error", err)
	}
	r.hub.Budget().SetLimit(memory)
	r.plain.hub = r.hub
	if err := r.openData(); err != nil {
		return nil, errors.Join(err, r.closeListeners(), r.pool.Close())
	}

	r.web = newServer(r.publicHandler(), log)
	r.web.ConnState = r.plain.track
	r.web.ConnContext = withConn
	if r.adminOn != nil {
		r.admin = r.newAdminServer()
	}
	viewers := r.hub.Config().MaxConnections
	log.Info("relay listens",
		"addr", r.listener.Addr().String(), "admin", r.adminAddr(), "version", version, "workers", len(workers),
		"memory", humanize.IBytes(uint64(memory)), "descriptors", limit, "viewers", viewers, "drain", r.drainTime(viewers))
	r.warnIfDrainIsCut(viewers)
	r.warnIfOpen()
	return r, nil
}

func newLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// hubConfig completes the hub's part of the settings with what only the
// process knows. It warns when there are fewer descriptors than the connections
// that were asked for.
func (r *relay) hubConfig(s *settings) hub.Config {
	config := s.hubConfig()
	config.Plain = r.plain.take
	config.Crowded = r.pool.Crowded
	if fits := r.viewers; config.MaxConnections == 0 || config.MaxConnections > fits {
		if config.MaxConnections > 0 && s.setting("max-connections").source.kind != fromDefault {
			r.log.Warn("fewer descriptors than connections", "max_connections", config.MaxConnections, "descriptors", r.limit, "viewers", fits)
		}
		config.MaxConnections = fits
	}
	return config
}

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
		open += int(r.adminOn.open.Load())
	}
	return open
}

// standardMaxHTTP is the default of --max-http.
const standardMaxHTTP = 256

// apiKey returns the key that the HTTP API asks for now, empty if the API is
// off. It may be called from anywhere; SIGHUP may change it.
func (r *relay) apiKey() string { return r.current.Load().apiKey.value.reveal() }

// warnIfOpen warns when anybody who reaches this machine may create rooms.
func (r *relay) warnIfOpen() {
	host, _, err := net.SplitHostPort(r.listener.Addr().String())
	if err == nil && !r.current.Load().createKey.value.isSet() && !isLoopback(host) {
		r.log.Warn(openToAll, "addr", r.listener.Addr().String())
	}
	if err == nil && r.current.Load().Dev && !isLoopback(host) {
		r.log.Warn("--dev lets pages of every origin connect", "addr", r.listener.Addr().String())
	}
}

func (r *relay) listen() (err error) {
	ctx := context.Background()
	if r.listener, err = netpoll.Listen(ctx, r.config.Addr, r.config.socketOptions()); err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	if r.config.AdminAddr == "" {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", r.config.AdminAddr)
	if err != nil {
		return errors.Join(fmt.Errorf("--admin-addr (may be empty): %w", err), r.listener.Close())
	}
	r.adminOn = &boundedListener{Listener: l}
	return nil
}

// closeListeners is for a relay that does not come to serve.
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
	return r.adminOn.Addr().String()
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
	open := func(w *netpoll.Worker, c *netpoll.Conn) netpoll.Session {
		return r.hub.NewSession(workers[w], c)
	}
	r.plain.reopen = open
	serve("relay", func() error { return r.pool.Serve(r.listener, open) })
	serve("http", func() error { return r.web.Serve(r.plain) })
	if r.admin != nil {
		serve("admin", func() error { return r.admin.Serve(r.adminOn) })
	}
	all.Go(func() { (&memoryKeeper{hub: r.hub}).run(ctx) })
	all.Go(func() { r.logRefusals(ctx) })

	<-ctx.Done()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil // a signal, or the caller, asked for it
		r.delayShutdown()
	}
	err = errors.Join(err, r.stop())
	cancel(nil)
	all.Wait()
	return err
}

// stop says goodbye to everybody, within the drain timeout.
func (r *relay) stop() error {
	began := time.Now()
	connections := int(r.hub.Connections())
	timeout := drainTimeout(r.current.Load().DrainTimeout, connections)
	r.log.Info("relay drains", "connections", connections, "drain", r.drainTime(connections), "timeout", timeout)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	r.hub.Drain()
	errs := []error{r.listener.Close()}
	cut := r.pool.Drain(ctx)
	errs = append(errs, end(ctx, r.web), r.plain.Close())
	if r.admin != nil {
		errs = append(errs, end(ctx, r.admin))
	}
	errs = append(errs, r.pool.Close(), r.data.stop())
	r.log.Info("relay ended", "drained_in", time.Since(began).Round(time.Millisecond), "cut_off", cut)
	return errors.Join(errs...)
}

// end lets an HTTP server finish its requests, until ctx ends: those that take
// longer are cut off, which is no error.
func end(ctx context.Context, server *http.Server) error {
	err := server.Shutdown(ctx)
	if ctx.Err() != nil {
		err = server.Close()
	}
	return err
}

// indexed maps each worker to its place.
func indexed(workers []*netpoll.Worker) map[*netpoll.Worker]int {
	places := make(map[*netpoll.Worker]int, len(workers))
	for i, w := range workers {
		places[w] = i
	}
	return places
}
