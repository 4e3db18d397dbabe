package main

import (
	"net/http"

	"github.com/lxzan/gws"
)

// This is the Broadcast example of gws's README: a Broadcaster for each
// message, which also compresses it once for clients that offer that, called in a loop over the connections, which are kept in its own
// ConcurrentMap.

type gwsRelay struct {
	gws.BuiltinEventHandler
	conns *gws.ConcurrentMap[*gws.Conn, bool]
}

func serveGWS(at place) error {
	relay := &gwsRelay{conns: gws.NewConcurrentMap[*gws.Conn, bool]()}
	upgrader := gws.NewUpgrader(relay, &gws.ServerOption{Recovery: gws.Recovery, PermessageDeflate: gws.PermessageDeflate{Enabled: true}})
	return at.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		go socket.ReadLoop() // a goroutine of its own, so that the request can be collected
	}))
}

func (h *gwsRelay) OnOpen(socket *gws.Conn) { h.conns.Store(socket, true) }

func (h *gwsRelay) OnClose(socket *gws.Conn, _ error) { h.conns.Delete(socket) }

func (h *gwsRelay) OnMessage(socket *gws.Conn, message *gws.Message) {
	defer message.Close()
	b := gws.NewBroadcaster(gws.OpcodeText, message.Bytes())
	defer b.Close()
	h.conns.Range(func(to *gws.Conn, _ bool) bool {
		if to != socket {
			_ = b.Broadcast(to) // a broken connection is told to OnClose
		}
		return true
	})
}
