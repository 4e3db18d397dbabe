package hub

import (
	"fmt"
	"slices"
	"time"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"
)

// What hosts and viewers do to their streams.

// streamActions are what happens to the streams of rooms while workers stop
// anywhere.
func (w *world) streamActions() map[string]func(*rapid.T) {
	bytes := func(t *rapid.T, most int) int { return rapid.IntRange(0, most).Draw(t, "bytes") }
	return map[string]func(*rapid.T){
		"join":         func(t *rapid.T) { w.joinStream(t, w.hall(t), proofs{known: -1}) },
		"come back":    w.comeBack,
		"broadcast":    func(t *rapid.T) { w.broadcast(t, w.hall(t), rapid.IntRange(1, 3).Draw(t, "messages")) },
		"burst":        func(t *rapid.T) { w.broadcast(t, w.hall(t), rapid.IntRange(5, 20).Draw(t, "messages")) },
		"host goes":    w.hostGoes,
		"host resumes": w.hostResumes,
		"answer":       func(t *rapid.T) { w.hall(t).answer(t) },
		"write":        w.write,
		"ask":          w.ask,
		"read":         func(t *rapid.T) { w.client(t, asViewer).drain(bytes(t, 5000)) },
		"stall":        func(t *rapid.T) { c := w.client(t, asViewer); c.peer.room = min(c.peer.room, bytes(t, 100)) },
		"recover":      func(t *rapid.T) { w.client(t, asViewer).drain(plenty) },
		"ping":         func(t *rapid.T) { w.client(t, asViewer).frame(ws.OpPing, "p") },
		"cut off":      w.cutOff,
		"pass": func(t *rapid.T) {
			w.pass(t, rapid.SampledFrom([]time.Duration{100 * time.Millisecond, 600 * time.Millisecond, freshFor, 3 * time.Second, 6 * time.Second, 35 * time.Second}).Draw(t, "time"))
		},
		"work": func(t *rapid.T) {
			worker := w.r.workers[drawWorker(t, w.r)]
			for range rapid.IntRange(1, 10).Draw(t, "tasks") {
				worker.step()
			}
		},
		"settle": w.settle,
	}
}

// broadcast has a host say something, in messages of all kinds and sizes.
func (w *world) broadcast(t *rapid.T, l *hall, messages int) {
	for range messages {
		if l.host == nil {
			return
		}
		var e line
		data := fmt.Sprintf(`{"n":%d,"fill":"%s"}`, len(l.broadcasts)+1, filling(t, 0, 10, 60, 60, 110, 300, 1800))
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			e.text, e.command = fmt.Sprintf("\n {\"data\" : %s, \"type\":\"command\"} ", data), data
		case 1:
			e.text = fmt.Sprintf(`{"type":"activate","data":%s}`, data)
		default:
			e.text, e.command = fmt.Sprintf(`{"type":"command","data":%s}`, data), data
		}
		l.says(e)
		l.host.speaks()
		b := l.host.masked(e.text)
		cut := rapid.IntRange(0, len(b)).Draw(t, "cut")
		l.host.bytes(b[:cut])
		l.host.bytes(b[cut:])
	}
}

// hostGoes ends a host's connection, perhaps in the middle of a message.
func (w *world) hostGoes(t *rapid.T) {
	rare(t, 3)
	host := w.client(t, asHost)
	b := appendMasked(nil, `{"type":"command","data":"not said to the end"}`)
	host.bytes(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")])
	host.listen(t)
	w.goes(host)
	host.reset()
}

// hostResumes has a host come back, or take its place from its older connection.
func (w *world) hostResumes(t *rapid.T) {
	l := w.hall(t)
	older := l.host
	if older != nil {
		rare(t, 5)
	}
	w.resume(w.connectHost(t), l, l.token)
	if older != nil {
		older.say(`{"type":"command","data":"from an older host"}`)
		older.reset()
		older.wire = nil
	}
}

// write has a host write to one viewer.
func (w *world) write(t *rapid.T) {
	c := w.client(t, asViewer)
	if c.hall.host == nil || !c.started || w.r.hub.Config().MaxPrivate < modelPrivate {
		return
	}
	w.said++
	c.hall.host.speaks()
	c.hears(`{"type":"message","from":"host","data":%d}`, w.said)
	c.hall.host.say(fmt.Sprintf(`{"type":"message","to":%d,"data":%d}`, c.id, w.said))
}

// ask has a viewer ask for the history.
func (w *world) ask(t *rapid.T) {
	c := w.client(t, asViewer)
	c.mustSpeak()
	if !c.started || c.asked {
		return
	}
	w.pass(t, 2*w.r.hub.Config().HistoryEvery)
	c.listen(t)
	if reading, _ := c.session.Wants(); c.session.room == nil || !reading {
		return
	}
	c.asked, c.asks = true, c.stream.question()
	c.asks.halves = 1
	c.keeps(t, false)
	c.say(`{"type":"history_request"}`)
}

// comeBack has a viewer come again, with what it knows; it may be that the relay
// does not know yet that its older connection is dead.
func (w *world) comeBack(t *rapid.T) {
	var some []int
	for i, c := range w.clients {
		if c.token != "" && c.ends.reason != "replaced" {
			some = append(some, i)
		}
	}
	if len(some) == 0 {
		panic(idle{})
	}
	i := rapid.SampledFrom(some).Draw(t, "viewer")
	old := w.clients[i]
	l := old.stream
	if old.gone || rapid.Bool().Draw(t, "the relay knows that it went") {
		w.goes(old)
		old.reset()
		w.clients = slices.Delete(w.clients, i, i+1)
	} else if old.session.room == nil {
		return
	}
	w.pass(t, 2*w.r.hub.Config().HistoryEvery)
	p := proofs{token: &old.token, known: -1}
	if old.knows {
		p.known = old.known
		p.anew = old.gone && rapid.Bool().Draw(t, "without its token")
		p.epoch = rapid.SampledFrom([]string{"", "", "", "", "0123456789ab"}).Draw(t, "another epoch")
	}
	w.joinStream(t, l, p)
}

// joinStream has a viewer join, in whatever way it wants to hear.
func (w *world) joinStream(t *rapid.T, l *hall, p proofs) {
	c := w.connect(t)
	p.numbered, p.history = c.peer.stream != nil || rapid.Bool().Draw(t, "numbered"), rapid.Bool().Draw(t, "history")
	if p.anew = p.anew && c.peer.stream != nil; p.anew { // as browsers do
		p.token = nil
	}
	c.peer.room = rapid.SampledFrom([]int{0, 50, 1000, plenty, plenty, plenty}).Draw(t, "bytes")
	if p.known >= 0 {
		c.known, c.knows = p.known, true
	}
	w.join(t, c, l.code, p)
	if c.hall == nil { // it may try again
		c.urgent = nil
		c.reset()
		c.wire = nil
		if p.token != nil {
			c.token, c.hall, c.stream, c.ends = *p.token, nil, l, ending{}
			c.dead, c.over, c.refused = false, false, false
		}
	}
}

// awaitEntry lets the relay encode a viewer's past, task by task: which history is
// cached when the viewer joins depends on the tasks that ran before, not on those
// that run after.
func (w *world) awaitEntry(t *rapid.T, c *client) {
	waits := func() bool { return c.session.more != nil && c.session.more.suspended }
	for busy := true; waits(); {
		if !busy {
			t.Fatalf("%s: nothing encodes its past", c)
		}
		busy = false
		for _, worker := range w.r.workers {
			if !waits() {
				return
			}
			busy = worker.step() || busy
			for _, l := range w.halls {
				l.watch(t)
			}
		}
	}
}

// cutOff ends a viewer's connection. What is on its way is lost, from any byte on.
func (w *world) cutOff(t *rapid.T) {
	c := w.client(t, asViewer)
	w.broadcast(t, c.stream, rapid.IntRange(0, 5).Draw(t, "messages"))
	w.r.run()
	c.wire = c.wire[:rapid.IntRange(0, len(c.wire)).Draw(t, "arrived")]
	c.listen(t)
	if c.hall != nil {
		w.goes(c)
	}
	c.reset()
}
