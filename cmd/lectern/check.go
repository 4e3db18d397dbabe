package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"lectern/hub/store"
	"lectern/netpoll"
)

// probeTimeout is how long a relay that has an address already may take to say
// that it lives.
const probeTimeout = 2 * time.Second

// try does what serve would do first, and undoes it: it listens on both
// addresses, writes a file where rooms are to be kept, and looks at the limit of
// descriptors. The error is mistakes. Warnings are what serve would go on with,
// or what is so because a relay runs already.
func (s *settings) try(ctx context.Context) (warnings []string, err error) {
	var wrong mistakes
	look := func(name, warning string, err error) {
		place := s.setting(name).source.place
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", place, err))
		}
		if warning != "" {
			warnings = append(warnings, place+": "+warning)
		}
	}
	close1, warning, err := tryAddress(ctx, s.Addr, s.socketOptions())
	look("addr", warning, err)
	if s.AdminAddr != "" { // while the other one is open
		close2, warning, err := tryAddress(ctx, s.AdminAddr, netpoll.SocketOptions{})
		look("admin-addr", warning, err)
		close2()
	}
	close1()
	if s.Data != "" {
		look("data", "", tryDirectory(s.Data))
	}
	warning, err = tryDescriptors(s.MaxConnections, s.Workers)
	if s.setting("max-connections").source.kind == fromDefault {
		warning = "" // serve takes as many as there are
	}
	look("max-connections", warning, err)
	if wrong != nil {
		return warnings, wrong
	}
	return warnings, nil
}

// tryAddress listens on an address until the returned function is called. It is
// no mistake that a relay has the address already.
func tryAddress(ctx context.Context, address string, options netpoll.SocketOptions) (closeIt func(), warning string, err error) {
	l, err := netpoll.Listen(ctx, address, options)
	switch {
	case err == nil:
		return func() { _ = l.Close() }, "", nil
	case errors.Is(err, syscall.EADDRINUSE) && isLive(ctx, address):
		return func() {}, "a relay runs at " + address + " already", nil
	}
	return func() {}, "", err
}

// isLive reports whether a relay answers at an address.
func isLive(ctx context.Context, address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if isUnspecified(host) {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/health/live", nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // and no proxy
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	var body struct{ Data struct{ Status string } }
	err = json.NewDecoder(io.LimitReader(response.Body, maxRoomBody)).Decode(&body)
	return err == nil && body.Data.Status == "live"
}

// tryDirectory makes a directory for rooms and a file in it, and removes what it
// has made.
func tryDirectory(dir string) (err error) {
	if err := store.Check(dir); err != nil {
		return err
	}
	made := missingDirectories(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	defer func() {
		for _, d := range made {
			err = errors.Join(err, os.Remove(d))
		}
	}()
	f, err := os.CreateTemp(dir, ".check-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// missingDirectories returns the directory and those above it that are not there, the
// innermost first.
func missingDirectories(dir string) (all []string) {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			return all
		}
		all = append(all, dir)
		above := filepath.Dir(filepath.Clean(dir))
		if above == dir {
			return all
		}
		dir = above
	}
}

// tryDescriptors compares the connections that are asked for with the limit of
// descriptors.
func tryDescriptors(connections, workers int) (warning string, err error) {
	limit, err := raiseDescriptors()
	if err != nil {
		return "", err
	}
	if workers <= 0 {
		workers = processors
	}
	kept := reservedDescriptors + workers*workerDescriptors
	if limit <= kept {
		return "", fmt.Errorf("the process may have %d descriptors open, of which the relay keeps %d for itself", limit, kept)
	}
	if fits := maxWebSockets(maxConns(limit, workers)); connections > fits {
		return fmt.Sprintf("of %d connections only %d fit: the process may have %d descriptors open", connections, fits, limit), nil
	}
	return "", nil
}
