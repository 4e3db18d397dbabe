package httpapi

import "net/http"

// A summary is the answer to GET /v1/api/summary. Totals count from the relay's start.
type summary struct {
	Rooms       int   `json:"rooms"`
	Viewers     int64 `json:"viewers"`
	Connections int64 `json:"connections"` // WebSockets, in a room or not

	Messages struct {
		Received   uint64 `json:"received"`   // from clients
		Broadcasts uint64 `json:"broadcasts"` // of them, relayed
		Delivered  uint64 `json:"delivered"`  // broadcasts times viewers that got them
	} `json:"messages"`
	Bytes struct {
		Delivered uint64 `json:"delivered"` // to sockets of WebSockets, whatever it was
		Held      int64  `json:"held"`      // by the rooms' Logs
	} `json:"bytes"`

	Limits limits `json:"limits"`
}

// limits are the limits in force, under the names of their options.
type limits struct {
	Connections   int `json:"max_connections"`
	Rooms         int `json:"max_rooms"`
	Viewers       int `json:"max_viewers"`        // of one room
	HostMessage   int `json:"max_host_message"`   // bytes
	ViewerMessage int `json:"max_viewer_message"` // bytes
	Name          int `json:"max_name"`           // characters
	HostRate      int `json:"host_rate"`          // messages a second; 0 for no limit
	ViewerRate    int `json:"viewer_rate"`        // messages a second
}

// summary returns the relay's totals and limits.
func (a *api) summary(call) (status int, data any, err error) {
	now, may := a.hub.Stats(), a.hub.Config()
	s := summary{Rooms: now.Rooms, Viewers: now.Viewers, Connections: now.Open}
	s.Messages.Received, s.Messages.Broadcasts, s.Messages.Delivered = now.Received, now.Broadcasts, now.Delivered
	s.Bytes.Delivered, s.Bytes.Held = a.bytes(), now.LogBytes
	s.Limits = limits{
		Connections: may.MaxConnections, Rooms: may.MaxRooms, Viewers: may.MaxViewers,
		HostMessage: may.MaxHostMessage, ViewerMessage: may.MaxViewerMessage, Name: may.MaxName,
		HostRate: may.HostRate, ViewerRate: may.ViewerRate,
	}
	return http.StatusOK, s, nil
}
