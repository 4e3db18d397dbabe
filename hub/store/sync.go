package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// syncers is how many files are synced at the same time. One commit of the
// filesystem's journal serves all of them.
const syncers = 8

// syncRooms waits until the rooms' files are on the disk, without syncing
// anything else. It stops when ctx ends.
func (s *Store) syncRooms(ctx context.Context, rooms []*roomRecord) error {
	var paths []string
	for _, rec := range rooms {
		for _, old := range rec.old {
			paths = append(paths, s.path(rec, old.number))
		}
		if rec.open {
			paths = append(paths, s.path(rec, rec.number))
		}
	}
	// Start writing back all of them before waiting for the first.
	begin := func(fd int) error { return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) }
	for _, path := range paths {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_ = syncFile(path, begin) // errors are found below
	}
	next := make(chan string)
	errs := make(chan error, syncers)
	var all sync.WaitGroup
	for range min(syncers, len(paths)) {
		all.Go(func() {
			for path := range next {
				if err := syncFile(path, s.fsync); err != nil && !errors.Is(err, fs.ErrNotExist) {
					errs <- err
					return
				}
			}
		})
	}
	err := feed(ctx, paths, next, errs)
	all.Wait()
	select {
	case failed := <-errs:
		err = errors.Join(err, failed)
	default:
	}
	if err != nil {
		return err
	}
	return syncFile(filepath.Join(s.config.Dir, "rooms"), s.fsync)
}

// feed sends paths until one fails or ctx ends.
func feed(ctx context.Context, paths []string, next chan<- string, errs <-chan error) error {
	defer close(next)
	for _, path := range paths {
		select {
		case next <- path:
		case err := <-errs:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// syncFile opens a file or directory and calls sync on it.
func syncFile(path string, sync func(fd int) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := sync(int(f.Fd())); err != nil {
		return errors.Join(fmt.Errorf("sync %s: %w", path, err), f.Close())
	}
	return f.Close()
}
