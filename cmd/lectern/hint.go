package main

import (
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/term"

	"lectern/cmd/lectern/internal/config"
)

// greet tells somebody who has started the relay in a terminal how to go on. A
// service's log does not get this.
func (r *relay) greet(stderr *os.File) {
	if r.config.LogFormat == "text" && r.listener.Addr().Network() != "unix" && term.IsTerminal(int(stderr.Fd())) {
		scheme := "ws"
		if r.tls != nil {
			scheme = "wss"
		}
		writeHint(stderr, scheme, r.listener.Addr().String())
	}
}

// writeHint writes the address to connect to and a first command.
func writeHint(w io.Writer, scheme, addr string) {
	if host, port, err := net.SplitHostPort(addr); err == nil && config.IsUnspecified(host) {
		addr = net.JoinHostPort("localhost", port)
	}
	fmt.Fprintf(w, `
The relay is at %s. Create a room from another terminal:
  python3 -m websockets %s    and type {"type":"create"}
README.md goes on from there. Ctrl-C ends the relay.

`, scheme+"://"+addr, scheme+"://"+addr)
}
