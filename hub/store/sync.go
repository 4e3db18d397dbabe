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

// syncers is how many files are waited for at the same time: one journal's commit
// serves all that wait for it.
const syncers = 8

// syncRooms waits until rooms' files are on the disk, and nothing else that the
// disk has to write. It gives up when ctx ends.
func (s *Store) syncRooms(ctx context.Context, rooms []*kept) error {
	var paths []string
	for _, k := range rooms {
		for _, old := range k.old {
			paths = append(paths, s.path(k, old.number))
		}
		if k.open {
			paths = append(paths, s.path(k, k.number))
		}
	}
	// All are on their way before the first is waited for.
	begin := func(fd int) error { return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) }
	for _, path := range paths {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_ = syncFile(path, begin) // whatever is wrong is found below
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

// syncFile has one of the sync calls done on a file or directory.
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
