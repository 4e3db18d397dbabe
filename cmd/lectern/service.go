package main

import (
	"context"
	"time"

	"lectern/cmd/lectern/internal/systemd"
	"lectern/netpoll"
)

// tell logs that the service manager could not be told something.
func (r *relay) tell(err error) {
	if err != nil {
		r.log.Warn("the service manager does not hear the relay", "error", err)
	}
}

// feedWatchdog feeds the service manager's watchdog as long as all workers turn.
func (r *relay) feedWatchdog(ctx context.Context) {
	r.tell(systemd.FeedWatchdog(ctx, func(ctx context.Context) error { return allTurn(ctx, r.pool) }))
}

// allTurn returns when every worker of the pool has run a task behind everything that
// waits for it now, or ctx has ended.
func allTurn(ctx context.Context, pool *netpoll.Pool) error {
	turned := make(chan struct{}, len(pool.Workers()))
	for _, w := range pool.Workers() {
		w.PostBehind(func() bool {
			turned <- struct{}{}
			return false
		})
	}
	for range pool.Workers() {
		select {
		case <-turned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// settleTime bounds how long a relay that ends waits for connections in their handshake
// when its listening socket stays open.
const settleTime = time.Second

// settle waits until no connection is in its handshake, if the service manager keeps the
// relay's socket open. New connections wait there for the next relay; those that this
// one has accepted get an answer that tells them to come back, and no refusal.
func (r *relay) settle() {
	if !r.inherited {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	select {
	case <-r.accepted: // the last connection is on its way to its worker
	case <-ctx.Done():
	}
	_ = allTurn(ctx, r.pool) // and is there; if time runs out, it is refused
	for ctx.Err() == nil && r.hub.Stats().Handshaking > 0 {
		time.Sleep(settleTime / 100)
	}
}

// stopTime returns how long the relay may take to stop, counted from when it is told to.
func (r *relay) stopTime() time.Duration {
	s := r.current.Load()
	within := s.ShutdownDelay + settleTime + drainTimeout(s.DrainTimeout, int(r.hub.Connections()))
	if r.data.store != nil {
		within += dataStopTime
	}
	return within + stopSlack
}

// stopSlack is for what a stop does besides waiting.
const stopSlack = 2 * time.Second
