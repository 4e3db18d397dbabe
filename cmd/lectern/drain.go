package main

import (
	"context"
	"os/signal"
	"syscall"
	"time"

	"lectern/cmd/lectern/internal/resources"
)

// How long a drain takes. The closing handshake of a connection takes some 50 us of
// processor time on two cores of an AMD EPYC, half of them in the kernel.
const (
	drainCost     = 50 * time.Microsecond  // of processor time, for each connection
	drainShare    = 100 * time.Microsecond // of the default of --drain-timeout, for each connection
	minDrainShare = 10 * time.Second       // least default of --drain-timeout
)

// drainTime estimates how long so many connections take to drain if all of them
// answer the close frame.
func (r *relay) drainTime(connections int) time.Duration {
	workers := min(len(r.pool.Workers()), resources.Processors())
	return (time.Duration(connections) * drainCost / time.Duration(workers)).Round(time.Millisecond)
}

// drainTimeout returns how long a drain of so many connections may take. The default
// is enough for half a processor, and at least 10 s.
func drainTimeout(option time.Duration, connections int) time.Duration {
	if option > 0 {
		return option
	}
	return max(minDrainShare, time.Duration(connections)*drainShare)
}

// warnIfDrainIsCut warns if --drain-timeout is too short for the connections of a full
// relay.
func (r *relay) warnIfDrainIsCut(connections int) {
	if timeout := r.current.Load().DrainTimeout; timeout > 0 && timeout < r.drainTime(connections) {
		r.log.Warn("--drain-timeout cuts the drain of a full relay", "timeout", timeout, "drain", r.drainTime(connections))
	}
}

// delayShutdown has /health/ready answer 503 while everything else goes on, so that
// load balancers stop sending clients. It returns after --shutdown-delay, or at another
// signal.
func (r *relay) delayShutdown() {
	r.leaving.Store(true)
	delay := r.current.Load().ShutdownDelay
	if delay <= 0 {
		return
	}
	hurry, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	connections := int(r.hub.Connections())
	r.log.Info("relay is not ready any more, and drains after the delay", "delay", delay,
		"connections", connections, "drain", r.drainTime(connections))
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-hurry.Done():
	}
}
