package classroom

import (
	"bytes"

	"lectern/hub"
)

// create creates a room with the sender as its host.
func create(s *hub.Session, r request) *hub.Refusal {
	options, f := readOptions(r, s.Config())
	if f != nil {
		return f
	}
	key, _, f := r.optional("key")
	if f != nil {
		return f
	}
	return s.Create(options, key)
}

// readOptions reads the options of a new room.
func readOptions(r request, c *hub.Config) (o hub.RoomOptions, f *hub.Refusal) {
	text, given, f := r.optional("secret")
	if f != nil {
		return o, f
	}
	if given && text == "" {
		return o, r.wrong("secret", "a string that is not empty")
	}
	o.Secret = text
	if o.Name, f = r.label("name", c.MaxName); f != nil {
		return o, f
	}
	if o.MaxViewers, f = r.number("max_viewers", 1, c.MaxViewers, c.MaxViewers); f != nil {
		return o, f
	}
	if o.History, f = r.oneOf("history", "host", "relay"); f != nil {
		return o, f
	}
	if o.Slow, f = r.oneOf("slow", "close", "skip"); f != nil {
		return o, f
	}
	o.Roster, f = r.flag("roster")
	return o, f
}

// resume makes the sender the host of its room again.
func resume(s *hub.Session, r request) *hub.Refusal {
	code, f := r.str("code")
	if f != nil {
		return f
	}
	token, f := r.str("token")
	if f != nil {
		return f
	}
	return s.Resume(code, token, r.lastingTag())
}

// lastingTag is like tag, but stays valid for replies that are sent after the
// request is gone.
func (r request) lastingTag() hub.Tag { return hub.Tag{Type: r.kind, Ref: bytes.Clone(r.ref)} }

// join makes the sender a viewer of a room.
func join(s *hub.Session, r request) *hub.Refusal {
	e, f := readJoin(r, s.Config())
	if f != nil {
		return f
	}
	if s.Deflates() {
		e.Encoding += deflated
	}
	return s.Join(e)
}

func readJoin(r request, c *hub.Config) (e hub.JoinRequest, f *hub.Refusal) {
	e.Tag = r.lastingTag()
	if e.Code, f = r.str("code"); f != nil {
		return e, f
	}
	if e.Secret, e.HasSecret, f = r.optional("secret"); f != nil {
		return e, f
	}
	if e.Name, f = r.label("name", c.MaxName); f != nil {
		return e, f
	}
	if e.History, f = r.flag("history"); f != nil {
		return e, f
	}
	if e.Token, e.Back, f = r.optional("token"); f != nil {
		return e, f
	}
	if e.Last.Epoch, _, f = r.optional("epoch"); f != nil {
		return e, f
	}
	seq, f := r.number("seq", 0, 1<<53, 0)
	if f != nil {
		return e, f
	}
	e.Last.Seq = uint64(seq)
	if !r.has("seq") {
		e.Last.Epoch = "" // a place needs both
	}
	yes, f := r.flag("numbered")
	if yes {
		e.Encoding = numbered
	}
	return e, f
}

// relay broadcasts the message as it is.
func relay(s *hub.Session, r request) *hub.Refusal {
	if !r.has("data") {
		return r.missing("data")
	}
	if r.has("seq") {
		return seqIsTheRelays()
	}
	return s.Broadcast(r.text, r.tag())
}

func seqIsTheRelays() *hub.Refusal { return badMessage(`"seq" is for the relay to set`) }

// message passes a host's message to one viewer, or a viewer's to the host.
func message(s *hub.Session, r request) *hub.Refusal {
	tag := hub.Tag{Type: r.kind}
	if s.Role() == hub.Viewer {
		data, f := r.raw("data")
		if f != nil {
			return f
		}
		return s.DirectToHost(data, tag)
	}
	to, f := r.id("to")
	if f != nil {
		return f
	}
	data, f := r.raw("data")
	if f != nil {
		return f
	}
	return s.DirectToViewer(to, data, tag)
}

func historyRequested(s *hub.Session, _ request) *hub.Refusal { return s.RequestHistory() }

func history(s *hub.Session, r request) *hub.Refusal {
	if f := r.list("commands"); f != nil {
		return f
	}
	if r.has("seq") {
		return seqIsTheRelays()
	}
	s.AnswerHistory(r.text)
	return nil
}

// standardPage is the default number of viewers in a page of the list.
const standardPage = 100

// list sends a page of the viewers, in the order in which they first joined.
func list(s *hub.Session, r request) *hub.Refusal {
	if !s.MayListViewers() {
		return &hub.Refusal{Kind: hub.NotHost}
	}
	after, f := r.number("after", 0, 1<<32-2, 0)
	if f != nil {
		return f
	}
	limit, f := r.number("limit", 1, hub.MaxPage, standardPage)
	if f != nil {
		return f
	}
	return s.ListViewers(uint32(after), limit)
}

// kick closes a viewer's connection and makes its token void.
func kick(s *hub.Session, r request) *hub.Refusal {
	id, f := r.id("id")
	if f != nil {
		return f
	}
	return s.Kick(id)
}

func transferHost(s *hub.Session, r request) *hub.Refusal {
	id, f := r.id("id")
	if f != nil {
		return f
	}
	return s.TransferHost(id, hub.Tag{Type: r.kind})
}

func leave(s *hub.Session, _ request) *hub.Refusal {
	s.Leave()
	return nil
}

func closeRoom(s *hub.Session, _ request) *hub.Refusal { return s.CloseRoom() }

// ping replies with the same data. The reply may overtake broadcasts.
func ping(s *hub.Session, r request) *hub.Refusal {
	s.TellUrgent(hub.Pong{Data: r.value("data")})
	return nil
}
