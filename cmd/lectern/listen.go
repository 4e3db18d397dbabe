package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"lectern/cmd/lectern/internal/config"
	"lectern/cmd/lectern/internal/httpapi"
	"lectern/cmd/lectern/internal/systemd"
	"lectern/netpoll"
)

// listen opens the listeners, or takes those that the service manager has opened. The
// options say nothing about those.
func (r *relay) listen() error {
	passed, err := systemd.TakeSockets()
	if err != nil {
		return err
	}
	defer passed.Close()
	ctx := context.Background()
	if r.inherited = passed.Relay != nil; r.inherited {
		r.listener, err = netpoll.Inherit(passed.Relay, socketOptions(r.config))
	} else if r.listener, err = netpoll.Listen(ctx, r.config.Addr, socketOptions(r.config)); err != nil {
		err = fmt.Errorf("--addr: %w", err)
	}
	if err != nil {
		return err
	}
	admin, err := r.listenAdmin(ctx, passed.Admin)
	if err != nil {
		return errors.Join(fmt.Errorf("--admin-addr (may be empty): %w", err), r.listener.Close())
	}
	if admin != nil {
		r.adminOn = &httpapi.AdminListener{Listener: admin}
	}
	return nil
}

// listenAdmin returns the listener of the admin address, nil if there is none.
func (r *relay) listenAdmin(ctx context.Context, passed *os.File) (net.Listener, error) {
	if passed != nil {
		return net.FileListener(passed)
	}
	if path, ok := config.SocketPath(r.config.AdminAddr); ok {
		return netpoll.ListenUnix(ctx, path, os.FileMode(r.config.SocketMode))
	}
	if r.config.AdminAddr == "" {
		return nil, nil
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", r.config.AdminAddr)
}

// nameOf returns an address as --addr has it.
func nameOf(addr net.Addr) string {
	if addr.Network() == "unix" {
		return netpoll.UnixPrefix + addr.String()
	}
	return addr.String()
}
