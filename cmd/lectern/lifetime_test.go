package main

import (
	"context"
	"io"
	"testing"
	"time"

	"lectern/cmd/lectern/internal/config"
)

// TestSignalDuringTheStart ends the relay before anything of it had begun.
func TestSignalDuringTheStart(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 200 {
		r, err := newRelay(&config.Settings{Options: config.Options{Addr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0"}}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.run(ended); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDrainTimeoutByConnections(t *testing.T) {
	for _, c := range []struct {
		option      time.Duration
		connections int
		want        time.Duration
	}{
		{0, 0, 10 * time.Second},
		{0, 100_000, 10 * time.Second},
		{0, 100_001, 10*time.Second + 100*time.Microsecond},
		{0, 1_000_000, 100 * time.Second},
		{time.Millisecond, 1_000_000, time.Millisecond},
		{time.Hour, 0, time.Hour},
	} {
		if got := drainTimeout(c.option, c.connections); got != c.want {
			t.Errorf("--drain-timeout %s with %d connections: %s, want %s", c.option, c.connections, got, c.want)
		}
	}
}
