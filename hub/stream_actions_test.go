package hub

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"lectern/hub/broadcast"
)

// What hosts and viewers do to their streams.

// create has a host open a room.
func (m *relayModel) create(t *rapid.T) {
	p := &speech{lagLimit: m.r.hub.Config().LagLimit}
	p.relayTells, p.skips = rapid.Bool().Draw(t, "relay tells"), rapid.Bool().Draw(t, "skips")
	options := `,"history":"host"`
	if p.relayTells {
		options = `,"history":"relay"`
	}
	if p.skips {
		options += `,"slow":"skip"`
	}
	host, created := m.r.opens(drawWorker(t, m.r), options)
	p.host, p.token, p.room = host, created.Token, host.session.room
	m.speeches = append(m.speeches, p)
}

// broadcast has a host say something, in messages of all kinds and sizes.
func (m *relayModel) broadcast(t *rapid.T, p *speech, messages int) {
	for range messages {
		if p.host == nil {
			return
		}
		e := line{number: len(p.broadcasts) + 1}
		data := fmt.Sprintf(`{"n":%d,"fill":"%s"}`, e.number, filling(t, 0, 10, 60, 60, 110, 300, 1800))
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			e.text, e.command = fmt.Sprintf("\n {\"data\" : %s, \"type\":\"command\"} ", data), data
		case 1:
			e.text = fmt.Sprintf(`{"type":"activate","data":%s}`, data)
		default:
			e.text, e.command = fmt.Sprintf(`{"type":"command","data":%s}`, data), data
		}
		p.order = append(p.order, e)
		p.broadcasts = append(p.broadcasts, len(p.order)-1)
		b := appendMasked(nil, e.text)
		cut := rapid.IntRange(0, len(b)).Draw(t, "cut")
		p.host.bytes(b[:cut])
		p.host.bytes(b[cut:])
	}
}

// hostGoes ends a host's connection, perhaps in the middle of a message.
func (m *relayModel) hostGoes(t *rapid.T) {
	p := m.speech(t)
	if p.host == nil || rapid.IntRange(0, 2).Draw(t, "dice") > 0 {
		return
	}
	b := appendMasked(nil, `{"type":"command","data":"not said to the end"}`)
	p.host.bytes(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")])
	p.listen(t)
	p.host.reset()
	p.host, p.changed, p.questions = nil, true, 0
	p.order = append(p.order, line{text: `{"type":"host_left","grace_ms":86400000}`})
}

// hostResumes has a host come back, or take its place from its older connection.
func (m *relayModel) hostResumes(t *rapid.T, p *speech) {
	older := p.host
	if older == nil {
		p.order = append(p.order, line{text: `{"type":"host_back"}`})
	} else if rapid.IntRange(0, 4).Draw(t, "dice") > 0 {
		return
	}
	p.host = m.r.dial(drawWorker(t, m.r))
	p.changed, p.questions = true, 0
	p.asked, p.idle = time.Time{}, time.Time{} // an open question is put again
	p.host.say(fmt.Sprintf(`{"type":"resume","code":"%s","token":"%s"}`, p.room.code, p.token))
	all := p.host.frames()
	want := fmt.Sprintf(`,"resumed":true,"seq":%d,"sent":%d}`, len(p.broadcasts), len(p.broadcasts))
	if len(all) == 0 || !strings.HasSuffix(all[0], want) {
		t.Fatalf("resumed with %s, want %s", all, want)
	}
	if older != nil {
		older.say(`{"type":"command","data":"from an older host"}`)
		older.reset()
	}
}

// listen takes what the host hears.
func (p *speech) listen(t *rapid.T) {
	if p.host == nil {
		return
	}
	for _, text := range p.host.frames() {
		switch {
		case text == `{"type":"history_request"}`:
			if !p.asked.IsZero() && time.Since(p.asked) < freshFor {
				t.Fatalf("a host is asked again after %s at most", time.Since(p.asked))
			}
			p.asked = p.idle
			p.questions++
		case text == "ping ", text == "pong ":
		case strings.HasPrefix(text, `{"type":"error","error":"no_such_viewer"`):
		default:
			t.Fatalf("a host heard %s", text)
		}
	}
	if p.host.session.shard.Worker.(*testWorker).idle() {
		p.idle = time.Now()
	}
}

// checkLogs checks that each encoding is written that somebody wants, or may want
// to go on from a history that was told within freshFor, no other, and that it is
// trimmed like the record.
func (p *speech) checkLogs(t *rapid.T) {
	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	var wants [encodings]int
	for i := range p.room.audiences {
		if a := p.room.audiences[i].Load(); a != nil {
			for _, s := range a.members {
				wants[s.encoding]++
			}
		}
	}
	var counted [encodings]int
	for _, st := range *p.room.streams.all.Load() {
		counted[st.encoding] = st.wants
	}
	kept, keptNumbered, lately := counted[verbatim]-wants[verbatim], counted[numbered]-wants[numbered], 0
	for _, a := range p.tales {
		if time.Since(a.at) <= freshFor {
			lately++
		}
	}
	// A history keeps the Logs that there were when it was told.
	if kept < 0 || kept > lately || keptNumbered < 0 || keptNumbered > kept || (p.room.streams.in(numbered) != nil) != (counted[numbered] > 0) {
		t.Fatalf("the room counts %v, there are %v, and %d histories", counted, wants, lately)
	}
	if l := p.room.streams.in(numbered); l != nil {
		record, before := p.room.streams.record.Oldest(), l.Oldest()
		l.Trim(broadcast.Retention{From: record.Seq() + 1})
		if after := l.Oldest(); after.Seq() != before.Seq() {
			t.Fatalf("the numbered Log begins after %d, the record after %d", before.Seq(), record.Seq())
		}
	}
}

// write has a host write to one viewer.
func (m *relayModel) write(t *rapid.T) {
	s := m.stream(t)
	p := s.speech
	if p.host == nil || !s.started || s.replaced >= 0 || m.r.hub.Config().MaxPrivate < modelPrivate {
		return
	}
	m.written++
	s.letters = append(s.letters, letter{m.written, len(p.order)})
	p.host.say(fmt.Sprintf(`{"type":"message","to":%d,"data":%d}`, s.id, m.written))
}

// ask has a viewer ask for the history.
func (m *relayModel) ask(t *rapid.T) {
	s := m.stream(t)
	if !s.started || s.asked {
		return
	}
	m.pass(t, 2*m.r.hub.Config().HistoryEvery)
	s.listen(t)
	if reading, _ := s.session.Wants(); s.session.room == nil || !reading {
		return
	}
	s.asked, s.asks = true, s.speech.question()
	s.asks.halves = 1
	s.keeps(t, false)
	s.say(`{"type":"history_request"}`)
}

// join lets a new viewer in.
func (m *relayModel) join(t *rapid.T) {
	if len(m.streams) >= 12 {
		t.Skip("enough viewers")
	}
	m.enter(t, &hearer{speech: m.speech(t), lastSeen: -1}, "")
}

// comeBack has a viewer come again, with what it knows; it may be that the relay
// does not know yet that its older connection is dead.
func (m *relayModel) comeBack(t *rapid.T) {
	if len(m.streams) == 0 {
		t.Skip("no viewer")
	}
	i := rapid.IntRange(0, len(m.streams)-1).Draw(t, "viewer")
	old := m.streams[i]
	if old.token == "" || old.replaced >= 0 {
		return
	}
	if old.gone || rapid.Bool().Draw(t, "the relay knows that it went") {
		old.reset()
		m.streams = slices.Delete(m.streams, i, i+1)
	} else if old.session.room != nil {
		old.replaced = len(old.speech.order)
	} else {
		return
	}
	m.pass(t, 2*m.r.hub.Config().HistoryEvery)
	s := &hearer{speech: old.speech, token: old.token, id: old.id, back: true, lastSeen: -1}
	more := fmt.Sprintf(`,"token":"%s"`, old.token)
	if old.knows {
		s.lastSeen = old.known
		s.known, s.knows = old.known, true
		more += fmt.Sprintf(`,"epoch":"%s","seq":%d`, old.speech.room.epoch, old.known)
	}
	m.enter(t, s, more)
}

// enter has a viewer join, and notes where its stream must begin.
func (m *relayModel) enter(t *rapid.T, s *hearer, more string) {
	p := s.speech
	s.replaced, s.stalled, s.took = -1, -1, time.Now()
	s.numbered = rapid.Bool().Draw(t, "numbered")
	if s.numbered {
		more += `,"numbered":true`
	}
	if rapid.Bool().Draw(t, "history") {
		more += `,"history":true`
		s.asked, s.asks = true, p.question()
	}
	s.peer = m.r.dial(drawWorker(t, m.r))
	s.peer.room = rapid.SampledFrom([]int{0, 50, 1000, plenty, plenty, plenty}).Draw(t, "bytes")
	s.cut = func() int {
		if s.peer.room > 0 || !s.session.has(flagBlocked) {
			s.took = time.Now()
		}
		return 1 + m.random.IntN(1500)
	}
	p.crowd++
	s.number, s.mark = len(p.broadcasts), len(p.order)
	s.place = s.mark
	s.say(fmt.Sprintf(`{"type":"join","code":"%s"%s}`, p.room.code, more))
	m.streams = append(m.streams, s)
	m.awaitEntry(t, s)

	p.room.mu.Lock()
	defer p.room.mu.Unlock()
	if s.session.room == nil {
		if p.room.roster.Viewers() != modelViewers {
			t.Fatalf("%s: was not let in", s)
		}
		s.reset() // it may try again
		s.wire, s.asked = nil, false
		return
	}
	record, oldest := p.room.streams.record.Oldest(), s.session.log().Oldest()
	if s.lastSeen >= int(record.Seq()) && s.lastSeen < int(oldest.Seq()) {
		t.Fatalf("%s: its Log begins after %d, the record after %d, and it was there at %d", s, oldest.Seq(), record.Seq(), s.lastSeen)
	}
	if s.lastSeen >= int(oldest.Seq()) {
		s.recovers, s.number, s.place = true, s.lastSeen, p.before(s.lastSeen+1)
	}
	if s.asked {
		s.keeps(t, !s.recovers)
	}
}

// awaitEntry lets the relay encode a viewer's past, task by task: which history is
// cached when the viewer joins depends on the tasks that ran before, not on those
// that run after.
func (m *relayModel) awaitEntry(t *rapid.T, s *hearer) {
	waits := func() bool { return s.session.more != nil && s.session.more.suspended }
	for busy := true; waits(); {
		if !busy {
			t.Fatalf("%s: nothing encodes its past", s)
		}
		busy = false
		for _, w := range m.r.workers {
			if !waits() {
				return
			}
			busy = w.step() || busy
			for _, p := range m.speeches {
				p.watch(t)
			}
		}
	}
}

// cutOff ends a viewer's connection. What is on its way is lost, from any byte
// on.
func (m *relayModel) cutOff(t *rapid.T) {
	s := m.stream(t)
	m.broadcast(t, s.speech, rapid.IntRange(0, 5).Draw(t, "messages"))
	m.r.run()
	s.wire = s.wire[:rapid.IntRange(0, len(s.wire)).Draw(t, "arrived")]
	s.listen(t)
	s.reset()
}

// filling draws a string of one of the lengths.
func filling(t *rapid.T, lengths ...int) string {
	return strings.Repeat("x", rapid.SampledFrom(lengths).Draw(t, "filling"))
}
