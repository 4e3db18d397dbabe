package hub

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gobwas/ws"

	"lectern/frame"
	"lectern/hub/broadcast"
	"lectern/hub/roomcode"
)

// compact is a dialect in a few bytes a message, for the model of rooms: it shows
// that a room speaks in values. A message is a broadcast, which is JSON as in the
// classroom, or it begins with a byte over 0x7f that tells its kind. Its clients, peers that
// are compact, translate from and to the classroom's JSON, so the model need not know.
type compact struct{ Dialect }

// The kinds of messages of clients. Those of the relay follow, see told.
const (
	saysJSON byte = 0x80 + iota // what has no compact form, for the classroom to judge
	saysCreate
	saysJoin
	saysResume
	saysLeave
	saysClose
	saysKick
	saysTransfer
	saysList
	saysDirect
	saysPing
	answersPing
	tellsHistory
	tellsEvent // the first of as many as there are events
)

// told are the events, in the order of their kinds. Of a room its code is told.
var told = []Event{
	Created{}, Resumed{}, Joined{}, BecameHost{}, HostChanged{}, HostLeft{}, HostBack{}, Closed{}, Left{}, Kicked{},
	Skipped{}, ViewerCount{}, Presence{}, List{}, HistoryRequest{}, Direct{}, Refused{}, Pong{},
}

// A compactRequest is what the fields of requests are, whichever kind it is.
type compactRequest struct {
	Code, Secret, Token, Name, Key      string
	HasSecret, HasToken, Roster, Relays bool
	MaxViewers, Limit                   int
	ID, After                           uint32
	Data                                []byte
}

func (d compact) Message(s *Session, m frame.Message) {
	kind, rest := m.Payload[0], m.Payload[1:]
	if kind == saysJSON {
		d.Dialect.Message(s, frame.Message{Op: ws.OpText, Payload: rest})
		return
	}
	if f := d.obey(s, kind, rest, m.Payload); f != nil {
		f.Tag = Tag{Type: kinds[kind]}
		if kind <= 0x7f {
			var broadcast struct{ Type string }
			_ = json.Unmarshal(m.Payload, &broadcast)
			f.Tag.Type = broadcast.Type
		}
		s.Refuse(f)
	}
}

// kinds are the classroom's names of requests.
var kinds = map[byte]string{
	saysCreate: "create", saysJoin: "join", saysResume: "resume", saysLeave: "leave", saysClose: "close", saysKick: "kick",
	saysTransfer: "grant_host", saysList: "list", saysDirect: "message", saysPing: "ping",
}

func (d compact) obey(s *Session, kind byte, rest, whole []byte) *Refusal {
	if f := s.CountMessage(); f != nil {
		return f
	}
	var r compactRequest
	if kind > 0x7f {
		takeValue(rest, reflect.ValueOf(&r).Elem())
	}
	switch role := s.Role(); {
	case kind == saysPing:
	case kind == saysCreate || kind == saysJoin || kind == saysResume:
		if role != NoRole {
			return refused(AlreadyInRoom)
		}
	case role == NoRole:
		return refused(NotInRoom)
	case role != Host && kind != saysLeave && kind != saysDirect && kind != saysList:
		return refused(NotHost)
	}
	count := s.CountRequest
	if kind <= 0x7f {
		count = s.CountBroadcast
	}
	if f := count(); f != nil {
		return f
	}
	switch kind {
	case saysCreate:
		return s.Create(RoomOptions{Name: r.Name, Secret: r.Secret, MaxViewers: r.MaxViewers, Roster: r.Roster, History: map[bool]string{true: "relay", false: "host"}[r.Relays]}, r.Key)
	case saysJoin:
		return s.Join(JoinRequest{Tag: Tag{Type: "join"}, Code: r.Code, Secret: r.Secret, HasSecret: r.HasSecret, Name: r.Name, Token: r.Token, Back: r.HasToken})
	case saysResume:
		return s.Resume(r.Code, r.Token, Tag{Type: "resume"})
	case saysLeave:
		s.Leave()
		return nil
	case saysClose:
		return s.CloseRoom()
	case saysKick:
		return s.Kick(r.ID)
	case saysTransfer:
		return s.TransferHost(r.ID, Tag{Type: "grant_host"})
	case saysList:
		if !s.MayListViewers() {
			return refused(NotHost)
		}
		return s.ListViewers(r.After, r.Limit)
	case saysDirect:
		if s.Role() == Viewer {
			return s.DirectToHost(r.Data, Tag{Type: "message"})
		}
		return s.DirectToViewer(r.ID, r.Data, Tag{Type: "message"})
	case saysPing:
		s.SendUrgent(frame.AppendFrame(nil, ws.OpBinary, append([]byte{answersPing}, r.Data...)))
		return nil
	}
	return s.Broadcast(whole, Tag{})
}

// A compactJoined is Joined without its room.
type compactJoined struct {
	Code, Token, Epoch            string
	ID                            uint32
	Seq, Common                   uint64
	Viewers                       int
	Host, Back, Recovered, Parted bool
}

func (compact) AppendEvent(b []byte, e Event) []byte {
	at := slices.IndexFunc(told, func(other Event) bool { return reflect.TypeOf(other) == reflect.TypeOf(e) })
	payload, value := []byte{tellsEvent + byte(at)}, reflect.ValueOf(e)
	switch e := e.(type) {
	case Joined:
		value = reflect.ValueOf(compactJoined{
			e.Room.code.String(), string(e.Room.AppendViewerToken(nil, e.ID)), e.Room.Epoch(),
			e.ID, e.Seq, e.Common, e.Viewers, e.Host, e.Back, e.Recovered, e.Parted,
		})
	case Refused:
		value = reflect.ValueOf(*e.Refusal)
	}
	return frame.AppendFrame(b, ws.OpBinary, appendValue(payload, value))
}

func (compact) Encodings() []Encoding {
	return []Encoding{{
		Broadcast: func(b []byte, m Broadcast) []byte { return frame.AppendFrame(b, ws.OpBinary, m.Payload) },
		Longer:    maxHeader,
		History: func(_ string, _, end broadcast.Cursor) []byte {
			return frame.AppendFrame(nil, ws.OpBinary, []byte{tellsHistory})
		},
		HistorySize: func(_, _ broadcast.Cursor) int { return maxHeader + 1 },
	}}
}

// appendValue appends what is exported of a value: numbers as varints, texts and lists
// behind their lengths.
func appendValue(b []byte, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	case reflect.Int, reflect.Int64:
		return binary.AppendVarint(b, v.Int())
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return binary.AppendUvarint(b, v.Uint())
	case reflect.String:
		return append(binary.AppendUvarint(b, uint64(v.Len())), v.String()...)
	case reflect.Slice:
		b = binary.AppendUvarint(b, uint64(v.Len()))
		for i := range v.Len() {
			b = appendValue(b, v.Index(i))
		}
		return b
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				b = appendValue(b, v.Field(i))
			}
		}
		return b
	case reflect.Pointer: // of event streams only
		return b
	}
	panic(v.Type().String() + " has no compact form")
}

// takeValue reads what appendValue appends, and returns the bytes behind it.
func takeValue(b []byte, v reflect.Value) []byte {
	take := func() uint64 {
		n, size := binary.Uvarint(b)
		b = b[size:]
		return n
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(take() == 1)
	case reflect.Int, reflect.Int64:
		n, size := binary.Varint(b)
		b = b[size:]
		v.SetInt(n)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(take())
	case reflect.String:
		n := take()
		v.SetString(string(b[:n]))
		b = b[n:]
	case reflect.Slice:
		n := int(take())
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range v.Len() {
			b = takeValue(b, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				b = takeValue(b, v.Field(i))
			}
		}
	}
	return b
}

// sayCompact says what a text in the classroom's dialect says.
func (p *peer) sayCompact(text string) {
	var r struct {
		Type, Code, Name, Key, History string
		Secret, Token                  *string
		Roster                         bool
		To, ID, After                  uint32
		MaxViewers                     int `json:"max_viewers"`
		Limit                          int
		Data                           json.RawMessage
	}
	err := json.Unmarshal([]byte(text), &r)
	var kind byte
	for k, name := range kinds {
		if name == r.Type {
			kind = k
		}
	}
	switch {
	case err == nil && (r.Type == "command" || r.Type == "activate" || r.Type == "broadcast"):
		p.frame(ws.OpBinary, text)
		return
	case err != nil || kind == 0 || len([]rune(r.Name)) > p.relay.hub.Config().MaxName:
		p.frame(ws.OpBinary, string([]byte{saysJSON})+text)
		return
	}
	q := compactRequest{
		Code: r.Code, Name: r.Name, Key: r.Key, Roster: r.Roster, Relays: r.History == "relay",
		MaxViewers: r.MaxViewers, Limit: r.Limit, ID: max(r.ID, r.To), After: r.After, Data: r.Data,
	}
	if r.Secret != nil {
		q.Secret, q.HasSecret = *r.Secret, true
	}
	if r.Token != nil {
		q.Token, q.HasToken = *r.Token, true
	}
	p.frame(ws.OpBinary, string(appendValue([]byte{kind}, reflect.ValueOf(q))))
}

// hearCompact returns in the classroom's dialect what a message says.
func (p *peer) hearCompact(payload string) string {
	kind := payload[0]
	switch {
	case kind <= 0x7f:
		return payload
	case kind == answersPing:
		return fmt.Sprintf(`{"type":"pong","data":%s}`, payload[1:])
	case kind < tellsEvent:
		p.relay.t.Fatalf("heard % x", payload)
	}
	read := func(v any) { takeValue([]byte(payload[1:]), reflect.ValueOf(v).Elem()) }
	event := reflect.New(reflect.TypeOf(told[kind-tellsEvent]))
	var e Event
	switch event.Interface().(type) {
	case *Joined:
		var j compactJoined
		read(&j)
		c, _ := roomcode.Parse(j.Code)
		room := &Room{hub: p.relay.hub, code: c, epoch: j.Epoch} // it may be closed by now
		if open := p.relay.hub.lookup(c); open != nil {
			room = open
		}
		text := string(frame.Payload(testClassroom().AppendEvent(nil, Joined{Room: room, ID: j.ID, Seq: j.Seq, Viewers: j.Viewers, Host: j.Host, Back: j.Back, Recovered: j.Recovered, Parted: j.Parted, Common: j.Common})))
		before, after, _ := strings.Cut(text, `"token":"`)
		return before + `"token":"` + j.Token + after[strings.IndexByte(after, '"'):]
	case *Refused:
		f := new(Refusal)
		read(f)
		e = Refused{f}
	default:
		read(event.Interface())
		e = event.Elem().Interface().(Event)
	}
	return string(frame.Payload(testClassroom().AppendEvent(nil, e)))
}
