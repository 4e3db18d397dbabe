package main

import (
	"context"
	"crypto/tls"
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

	"lectern/cmd/lectern/internal/config"
	"lectern/cmd/lectern/internal/resources"
	"lectern/hub/store"
	"lectern/netpoll"
)

type configCommand struct{ config.Options }

// Run prints the configuration in the form of its file.
func (c *configCommand) Run(line *config.CommandLine) error {
	s, err := line.Read(&c.Options, os.Environ())
	if err != nil {
		return err
	}
	return s.Print(os.Stdout)
}

type checkCommand struct{ config.Options }

// Run reports all mistakes in the configuration, and then what would keep the
// relay from starting on this machine now.
func (c *checkCommand) Run(line *config.CommandLine) error {
	s, err := line.Read(&c.Options, os.Environ())
	if err != nil {
		return err
	}
	warnings, err := try(context.Background(), s)
	warnings = append(warnings, s.Warnings(s.Addr)...)
	for _, w := range warnings {
		fmt.Fprintln(os.Stderr, "lectern: warning:", w)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Println("The configuration is good.")
	return err
}

// How check asks whether a relay holds an address already.
const (
	probeTimeout = 2 * time.Second
	maxProbeBody = 64 << 10 // bytes
)

// try does what serve would do first, and undoes it: it listens on both
// addresses, writes a file where rooms are to be kept, and compares the limit of
// descriptors. The error is of type config.Mistakes. A warning is about something
// that does not keep serve from starting, or about a relay that runs already.
func try(ctx context.Context, s *config.Settings) (warnings []string, err error) {
	var wrong config.Mistakes
	look := func(name, warning string, err error) {
		place := s.Place(name)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", place, err))
		}
		if warning != "" {
			warnings = append(warnings, place+": "+warning)
		}
	}
	scheme := "http"
	if s.HasTLS() {
		scheme = "https"
	}
	close1, warning, err := tryAddress(ctx, scheme, s.Addr, socketOptions(&s.Options))
	look("addr", warning, err)
	if s.AdminAddr != "" { // while the other one is open
		close2, warning, err := tryAddress(ctx, "http", s.AdminAddr, netpoll.SocketOptions{})
		look("admin-addr", warning, err)
		close2()
	}
	tryCertificates(ctx, s, look)
	close1()
	if s.Data != "" {
		look("data", "", tryDirectory(s.Data))
	}
	warning, err = tryDescriptors(s.MaxConnections, s.Workers)
	if !s.IsGiven("max-connections") {
		warning = "" // serve takes as many as there are
	}
	look("max-connections", warning, err)
	if wrong != nil {
		return warnings, wrong
	}
	return warnings, nil
}

// tryAddress listens on an address until the returned function is called. If a
// relay holds the address already, that is a warning and no mistake.
func tryAddress(ctx context.Context, scheme, address string, options netpoll.SocketOptions) (closeIt func(), warning string, err error) {
	l, err := netpoll.Listen(ctx, address, options)
	switch {
	case err == nil:
		return func() { _ = l.Close() }, "", nil
	case errors.Is(err, syscall.EADDRINUSE) && isLive(ctx, scheme, address):
		return func() {}, "a relay runs at " + address + " already", nil
	}
	return func() {}, "", err
}

// isLive reports whether a relay answers at an address.
func isLive(ctx context.Context, scheme, address string) bool {
	transport := &http.Transport{ // without a proxy
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the relay on this machine has another name
	}
	host, port, err := net.SplitHostPort(address)
	if path, ok := config.SocketPath(address); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		host, port, err = "", "80", nil
	}
	if err != nil {
		return false
	}
	if config.IsUnspecified(host) {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/health/live", nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: transport}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	var body struct{ Data struct{ Status string } }
	err = json.NewDecoder(io.LimitReader(response.Body, maxProbeBody)).Decode(&body)
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

// missingDirectories returns those of the directory and its parents that do not
// exist, the innermost first.
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

// tryDescriptors compares the configured connections with the limit of
// descriptors.
func tryDescriptors(connections, workers int) (warning string, err error) {
	limit, err := resources.RaiseDescriptors()
	if err != nil {
		return "", err
	}
	workers = resources.Workers(workers)
	kept := resources.Reserved(workers)
	if limit <= kept {
		return "", fmt.Errorf("the process may have %d descriptors open, of which the relay keeps %d for itself", limit, kept)
	}
	if fits := resources.MaxWebSockets(resources.MaxConns(limit, workers)); connections > fits {
		return fmt.Sprintf("of %d connections only %d fit: the process may have %d descriptors open", connections, fits, limit), nil
	}
	return "", nil
}
