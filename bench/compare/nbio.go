package main

import (
	"net/http"
	"sync"

	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// This is nbio's websocket server example with its default mode, where a few
// pollers serve all connections and no write blocks; a message is written to
// each connection in turn.

type nbioRelay struct {
	mu    sync.RWMutex
	conns map[*websocket.Conn]bool // guarded by mu
}

func serveNbio(at place) error {
	relay := &nbioRelay{conns: map[*websocket.Conn]bool{}}
	upgrader := websocket.NewUpgrader()
	upgrader.OnOpen(func(c *websocket.Conn) {
		relay.mu.Lock()
		defer relay.mu.Unlock()
		relay.conns[c] = true
	})
	upgrader.OnClose(func(c *websocket.Conn, _ error) {
		relay.mu.Lock()
		defer relay.mu.Unlock()
		delete(relay.conns, c)
	})
	upgrader.OnMessage(func(from *websocket.Conn, kind websocket.MessageType, data []byte) {
		relay.mu.RLock()
		defer relay.mu.RUnlock()
		for c := range relay.conns {
			if c != from {
				_ = c.WriteMessage(kind, data) // a broken connection is told to OnClose
			}
		}
	})
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp", Addrs: []string{at.addr}, MaxLoad: 1_000_000, ReleaseWebsocketPayload: true, // as in the examples
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = upgrader.Upgrade(w, r, nil) // Upgrade has answered
		}),
	})
	if err := engine.Start(); err != nil {
		return err
	}
	select {} // until the bench ends this process
}
