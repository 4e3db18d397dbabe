package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"lectern/hub/store"
)

// dataStopTime bounds the last write, after the drain.
const dataStopTime = 8 * time.Second

// A dataKeeper writes the rooms to disk while the relay runs. The zero dataKeeper does
// nothing: the rooms are in memory only.
type dataKeeper struct {
	store  *store.Store // nil without --data
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// openData restores the rooms on disk.
func (r *relay) openData() error {
	if r.config.Data == "" {
		return nil
	}
	s, err := store.Open(store.Config{Dir: r.config.Data, Every: r.config.DataEvery, Log: r.log})
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	if err := s.Restore(r.hub); err != nil {
		return errors.Join(fmt.Errorf("--data: %w", err), s.Close(context.Background()))
	}
	r.data.store = s
	return nil
}

// run writes until stop.
func (d *dataKeeper) run() {
	if d.store == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.all.Go(func() { d.store.Run(ctx) })
}

// stop writes what is left, within dataStopTime. The rooms must not change any more.
func (d *dataKeeper) stop() error {
	if d.store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), dataStopTime)
	defer cancel()
	d.cancel()
	ended := make(chan struct{})
	go func() {
		d.all.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
		err = d.store.Close(ctx)
	case <-ctx.Done():
		err = errors.New("the disk does not answer")
	}
	if err != nil {
		return fmt.Errorf("--data: not everything is on disk, so the next start begins new epochs: %w", err)
	}
	return nil
}

// stats returns the store's figures. They are zero without a store.
func (d *dataKeeper) stats() store.Stats {
	if d.store == nil {
		return store.Stats{}
	}
	return d.store.Stats()
}
