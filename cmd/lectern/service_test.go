package main

import (
	"context"
	"testing"
	"time"

	"lectern/netpoll"
)

// TestAllTurn: a single worker that stands still is noticed.
func TestAllTurn(t *testing.T) {
	pool, err := netpoll.New(netpoll.Config{Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := allTurn(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	stands, goOn := make(chan struct{}), make(chan struct{})
	pool.Workers()[1].Post(func() bool {
		close(stands)
		<-goOn
		return false
	})
	<-stands
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := allTurn(ctx, pool); err == nil {
		t.Error("all workers turn, although one stands still")
	}
	close(goOn)
	if err := allTurn(t.Context(), pool); err != nil {
		t.Error(err)
	}
}
