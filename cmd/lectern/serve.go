package main

import (
	"context"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"lectern/cmd/lectern/internal/config"
	"lectern/hub"
	"lectern/netpoll"
)

type serveCommand struct{ config.Options }

// Run serves until a signal, then drains. A second signal ends it at once.
// SIGHUP reads the configuration again.
func (c *serveCommand) Run(line *config.CommandLine) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	running, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	read := func() (*config.Settings, error) { return line.Read(&c.Options, os.Environ()) }
	s, err := read()
	if err != nil {
		return err
	}
	r, err := newRelay(s, os.Stderr)
	if err != nil {
		return err
	}
	r.greet(os.Stderr)
	context.AfterFunc(running, stop) // from now on a second signal ends the process

	var following sync.WaitGroup
	following.Go(func() { r.follow(running, hangups, read) })
	err = r.run(running)
	stop()
	following.Wait()
	return err
}

// hubConfig returns the settings that concern the hub.
func hubConfig(s *config.Settings) hub.Config {
	c := hub.Config{
		MaxConnections:   s.MaxConnections,
		MaxHandshaking:   s.MaxHandshaking,
		MaxRooms:         s.MaxRooms,
		MaxViewers:       s.MaxViewers,
		MaxHead:          s.MaxHead,
		MaxHostMessage:   s.MaxHostMessage,
		MaxViewerMessage: s.MaxViewerMessage,
		HostRate:         s.HostRate,
		HostRequestRate:  s.HostRequestRate,
		ViewerRate:       s.ViewerRate,
		MaxName:          s.MaxName,
		MaxPrivate:       s.MaxPrivate,
		LagLimit:         s.LagLimit,
		Retain:           s.Retain,
		RetainMessages:   s.RetainMessages,
		RetainAge:        s.RetainAge,
		RetainTotal:      s.RetainTotal,
		HostGrace:        s.HostGrace,
		RoomIdle:         s.RoomIdle,
		HandshakeTimeout: s.HandshakeTimeout,
		CloseTimeout:     s.CloseTimeout,
		StallTimeout:     s.StallTimeout,
		PingAfter:        s.PingAfter,
		IdleTimeout:      s.IdleTimeout,
		HistoryTimeout:   s.HistoryTimeout,
		HistoryEvery:     s.HistoryEvery,
		HistoryTake:      s.HistoryTake,
		MessageTimeout:   s.MessageTimeout,
		PollGrace:        s.PollGrace,
		CreateKey:        s.CreateKey().Reveal(),

		MaxConnectionsPerAddress: s.MaxConnectionsPerAddress,
		MaxRoomsPerAddress:       s.MaxRoomsPerAddress,
		HexCodes:                 s.Codes == "hex6",
		NoCompression:            s.Compress == "off",
		CompressMin:              s.CompressMin,
	}
	if c.CompressMin == 0 {
		c.CompressMin = -1 // as below
	}
	if c.HostGrace == 0 {
		c.HostGrace = -1 // the hub takes zero for its default
	}
	for _, origin := range s.AllowOrigin {
		c.AllowOrigins = append(c.AllowOrigins, string(origin))
	}
	if s.Dev {
		c.AllowOrigins = append(c.AllowOrigins, "*")
	}
	for _, peer := range s.TrustedProxy {
		c.TrustedProxies = append(c.TrustedProxies, netip.Prefix(peer))
	}
	return c
}

func socketOptions(o *config.Options) netpoll.SocketOptions {
	return netpoll.SocketOptions{
		NotSentLowat: o.NotSentLowat,
		SendBuffer:   o.SendBuffer,
		UserTimeout:  o.UserTimeout,
		KeepAlive:    o.KeepAlive,
		Mode:         os.FileMode(o.SocketMode),
	}
}
