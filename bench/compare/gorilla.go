package main

import (
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// This is the hub of gorilla/websocket's chat example: one goroutine owns the
// set of clients, each client has a buffered channel and a goroutine for
// writing, and a client whose channel is full is closed. Messages go out as
// PreparedMessage, which its documentation recommends for sending one message
// to many, and which compresses it once for clients that offer that. The example's trick of joining queued messages into one is left
// out: it changes the messages.

const (
	gorillaQueue     = 256 // as in the example
	gorillaWriteWait = 10 * time.Second
	gorillaPongWait  = 60 * time.Second
	gorillaPing      = gorillaPongWait * 9 / 10
)

type gorillaHub struct {
	clients    map[*gorillaClient]bool
	broadcast  chan gorillaMessage
	register   chan *gorillaClient
	unregister chan *gorillaClient
}

type gorillaMessage struct {
	from     *gorillaClient
	prepared *websocket.PreparedMessage
}

type gorillaClient struct {
	hub  *gorillaHub
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
}

func serveGorilla(at place) error {
	hub := &gorillaHub{map[*gorillaClient]bool{}, make(chan gorillaMessage), make(chan *gorillaClient), make(chan *gorillaClient)}
	go hub.run()
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, EnableCompression: true} // the sizes as in the example
	return at.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		c := &gorillaClient{hub, conn, make(chan *websocket.PreparedMessage, gorillaQueue)}
		hub.register <- c
		go c.write()
		go c.read()
	}))
}

func (h *gorillaHub) run() {
	for {
		select {
		case c := <-h.register:
			h.clients[c] = true
		case c := <-h.unregister:
			if h.clients[c] {
				delete(h.clients, c)
				close(c.send)
			}
		case m := <-h.broadcast:
			for c := range h.clients {
				if c == m.from {
					continue
				}
				select {
				case c.send <- m.prepared:
				default:
					close(c.send)
					delete(h.clients, c)
				}
			}
		}
	}
}

func (c *gorillaClient) read() {
	defer func() {
		c.hub.unregister <- c
		_ = c.conn.Close()
	}()
	_ = c.conn.SetReadDeadline(time.Now().Add(gorillaPongWait))
	c.conn.SetPongHandler(func(string) error { return c.conn.SetReadDeadline(time.Now().Add(gorillaPongWait)) })
	for {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		prepared, err := websocket.NewPreparedMessage(websocket.TextMessage, message)
		if err != nil {
			return
		}
		c.hub.broadcast <- gorillaMessage{c, prepared}
	}
}

func (c *gorillaClient) write() {
	ping := time.NewTicker(gorillaPing)
	defer func() {
		ping.Stop()
		_ = c.conn.Close()
	}()
	for {
		select {
		case m, ok := <-c.send:
			_ = c.conn.SetWriteDeadline(time.Now().Add(gorillaWriteWait))
			if !ok {
				_ = c.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			if c.conn.WritePreparedMessage(m) != nil {
				return
			}
		case <-ping.C:
			_ = c.conn.SetWriteDeadline(time.Now().Add(gorillaWriteWait))
			if c.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}
