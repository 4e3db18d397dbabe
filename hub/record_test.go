package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// relayHost returns the host of a room whose history the relay keeps.
func (r *testRelay) relayHost(worker int, more string) (*peer, string) {
	r.t.Helper()
	p := r.dial(worker)
	p.say(`{"type":"create","history":"relay"` + more + `}`)
	p.hears(`{"type":"created"*`)
	return p, p.session.room.code.String()
}

func TestRelayTellsTheHistory(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	host, code := r.relayHost(0, "")
	host.say(`{"type":"command","data":"one"}`)
	host.say(`{ "type" : "activate", "data":{"x":[1, 2]} }`)
	host.say(`{"type":"comm\u0061nd","data":2}`)
	v := r.dial(1)
	v.say(`{"type":"join","code":"` + code + `","history":true}`)
	r.run()
	host.say(`{"type":"command","data":"live"}`)
	v.hears(`{"type":"joined"*`,
		`{"type":"history","commands":["one",2],"messages":[{"type":"command","data":"one"},{ "type" : "activate", "data":{"x":[1, 2]} },{"type":"comm\u0061nd","data":2}],"seq":3}`,
		`{"type":"command","data":"live"}`)
	host.hears() // it is not asked
}

func TestRelaysEmptyHistory(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	_, code := r.relayHost(0, "")
	v := r.viewer(0, code)
	v.say(`{"type":"history_request"}`)
	v.hears(`{"type":"history","commands":[],"messages":[],"seq":0}`)
}

func TestHistoryThatIsTruncatedSaysSo(t *testing.T) {
	const keep = 100_000
	r := newTestRelay(t, 1, Config{Retain: keep})
	host, code := r.relayHost(0, "")
	for i := 1; i <= 1000; i++ {
		host.say(fmt.Sprintf(`{"type":"command","data":"%d %s"}`, i, strings.Repeat("x", 400)))
	}
	v := r.viewer(0, code)
	v.say(`{"type":"history_request"}`)
	r.run()
	var history struct {
		Commands, Messages []json.RawMessage
		Seq                int
		Truncated          bool
	}
	got := v.frames()
	if len(got) != 1 || json.Unmarshal([]byte(got[0]), &history) != nil {
		t.Fatalf("heard %d messages", len(got))
	}
	n := len(history.Messages)
	if !history.Truncated || history.Seq != 1000 || n != len(history.Commands) || n < keep/500 || n > 1000*3/4 {
		t.Errorf("truncated %v, seq %d, %d messages, %d commands", history.Truncated, history.Seq, n, len(history.Commands))
	}
	for i, command := range history.Commands {
		if want := fmt.Sprintf(`"%d `, 1000-n+i+1); !strings.HasPrefix(string(command), want) {
			t.Fatalf("command %d of the history is %.20s, want %s", i, command, want)
		}
	}
}

// TestHistoryIsEncodedOnce has 5,000 join and ask within a second while the host
// speaks on, and some ask who are there already.
func TestHistoryIsEncodedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{})
		host, code := r.relayHost(0, "")
		host.say(`{"type":"command","data":1}`)
		there := r.viewer(1, code)
		var joined []*peer
		for i := range 5000 {
			p := r.dial(i % 2)
			p.say(fmt.Sprintf(`{"type":"join","code":"%s","history":true,"numbered":%t}`, code, i%3 == 1))
			joined = append(joined, p)
			if i == 2000 {
				r.run()
				host.say(`{"type":"command","data":2}`)
			}
			if i == 3000 {
				r.run()
				there.hears(`{"type":"command","data":2}`)
				there.say(`{"type":"history_request"}`)
			}
			time.Sleep(time.Second / 5001)
		}
		host.say(`{"type":"command","data":3}`)
		for i, p := range joined {
			if joined, rest := cutFrame(p); !strings.Contains(joined, `"seq":1,`) {
				t.Fatalf("the stream does not go on from the history: %s", joined)
			} else {
				p.wire = rest
			}
			if i%3 == 1 {
				p.hears(`{"type":"history","commands":[1],*`, `{"seq":2,"type":"command","data":2}`, `{"seq":3,"type":"command","data":3}`)
			} else {
				p.hears(`{"type":"history","commands":[1],*`, `{"type":"command","data":2}`, `{"type":"command","data":3}`)
			}
		}
		room := host.session.room
		encoded := func() (times uint32, kept bool) {
			room.mu.Lock()
			defer room.mu.Unlock()
			return room.history.record.number, room.history.cached.frames[verbatim] != nil
		}
		if times, _ := encoded(); times != 1 {
			t.Errorf("the history was encoded %d times", times)
		}
		there.hears() // it has had 2 already, which the encoded one does not tell
		time.Sleep(freshFor)
		synctest.Wait()
		there.hears(`{"type":"history","commands":[1,2,3],*`)
		time.Sleep(2 * freshFor)
		synctest.Wait()
		if times, kept := encoded(); times != 2 || kept {
			t.Errorf("encoded %d times, and kept: %v", times, kept)
		}
	})
}

func TestSlowViewerIsMovedOnAndToldWhatItMissed(t *testing.T) {
	const limit = 100_000
	r := newTestRelay(t, 1, Config{LagLimit: limit, MaxHostMessage: 1000})
	host, code := r.relayHost(0, `,"slow":"skip"`)
	v := r.viewer(0, code)
	v.room = 500
	text := func(i int) string {
		return fmt.Sprintf(`{"type":"command","data":"%d %s"}`, i, strings.Repeat("x", 900))
	}
	sent := 0
	for r.hub.Stats().Skipped == 0 {
		sent++
		host.say(text(sent))
		r.run()
	}
	v.drain(plenty)
	host.say(text(sent + 1))
	v.hears(text(1), fmt.Sprintf(`{"type":"skipped","messages":%d,"seq":%d}`, sent-1, sent), text(sent+1))
	if got := r.hub.Stats(); got.Viewers != 1 || got.Skipped != uint64(sent-1) {
		t.Errorf("%d viewers, %d skipped", got.Viewers, got.Skipped)
	}
}

func TestViewerComesBackToWhereItWas(t *testing.T) {
	type welcomed struct {
		Epoch, Token string
		ID, Seq      int
		Recovered    *bool
	}
	for name, c := range map[string]struct {
		create, last string // what the viewer says besides its token; %s is the epoch
		recovered    bool
		seq          int
		missed       []string
	}{
		"all that it missed":   {`,"history":"relay"`, `,"epoch":"%s","seq":2`, true, 2, []string{"3", "4", "5"}},
		"nothing missed":       {`,"history":"relay"`, `,"epoch":"%s","seq":5`, true, 5, nil},
		"from the beginning":   {`,"history":"relay"`, `,"epoch":"%s","seq":0`, true, 0, []string{"1", "2", "3", "4", "5"}},
		"another life":         {`,"history":"relay"`, `,"epoch":"x%s","seq":2`, false, 5, nil},
		"a number to come":     {`,"history":"relay"`, `,"epoch":"%s","seq":6`, false, 5, nil},
		"no number":            {`,"history":"relay"`, `,"epoch":"%s"`, false, 5, nil},
		"no epoch":             {`,"history":"relay"`, `,"seq":2`, false, 5, nil},
		"the host's history":   {`,"history":"host"`, `,"epoch":"%s","seq":2`, true, 2, []string{"3", "4", "5"}},
		"nothing, of a host's": {`,"history":"host"`, `,"epoch":"%s","seq":5`, true, 5, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTestRelay(t, 2, Config{})
			host := r.dial(0)
			host.say(`{"type":"create"` + c.create + `}`)
			host.hears(`{"type":"created"*`)
			room := host.session.room
			v := r.dial(1)
			v.say(`{"type":"join","code":"` + room.code.String() + `"}`)
			var me welcomed
			if err := json.Unmarshal([]byte(v.frames()[0]), &me); err != nil {
				t.Fatal(err)
			}
			v.reset()
			for i := range 5 {
				host.say(fmt.Sprintf(`{"type":"command","data":%d,"fill":"%s"}`, i+1, strings.Repeat("x", 300)))
			}
			r.run()
			back := r.dial(0)
			last := strings.ReplaceAll(c.last, "%s", me.Epoch)
			back.say(`{"type":"join","code":"` + room.code.String() + `","token":"` + me.Token + `"` + last + `}`)
			r.run()
			got := back.frames()
			var again welcomed
			if err := json.Unmarshal([]byte(got[0]), &again); err != nil || again.Recovered == nil {
				t.Fatalf("welcomed by %s", got[0])
			}
			if *again.Recovered != c.recovered || again.Seq != c.seq || again.ID != me.ID {
				t.Errorf("welcomed by %s, want recovered %v and seq %d", got[0], c.recovered, c.seq)
			}
			if len(got)-1 != len(c.missed) {
				t.Fatalf("then heard %d broadcasts, want %d", len(got)-1, len(c.missed))
			}
			for i, data := range c.missed {
				if !strings.HasPrefix(got[i+1], `{"type":"command","data":`+data+`,`) {
					t.Errorf("heard %.60s, want %s", got[i+1], data)
				}
			}
			host.say(`{"type":"command","data":"live"}`)
			back.hears(`{"type":"command","data":"live"}`)
		})
	}
}

func TestBroadcastFromOutside(t *testing.T) {
	r := newTestRelay(t, 2, Config{})
	info, token, err := r.hub.CreateRoom(RoomOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v := r.viewer(1, info.Code)
	host := r.dial(0)
	host.say(`{"type":"resume","code":"` + info.Code + `","token":"` + token + `"}`)
	host.hears(`{"type":"created"*`)
	v.hears(`{"type":"host_back"}`)
	if seq, err := testPublish(r.hub, info.Code, []byte(`{"a": 1}`)); seq != 1 || err != nil {
		t.Fatalf("broadcast %d, %v", seq, err)
	}
	for _, p := range []*peer{host, v} {
		p.hears(`{"type":"broadcast","data":{"a": 1}}`)
	}
	for data, want := range map[string]string{`{`: "data", `1} {"x":2`: "data", strings.Repeat("[", 400): "data", "": "data", `1,"x":2`: "data"} {
		if _, err := testPublish(r.hub, info.Code, []byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("broadcast of %.20q: %v", data, err)
		}
	}
	own, code := r.host(0)
	if _, err := testPublish(r.hub, code, []byte(`1`)); err != ErrHostSpeaks {
		t.Errorf("in a host's room: %v", err)
	}
	own.say(`{"type":"close"}`)
	if _, err := testPublish(r.hub, code, []byte(`1`)); err != ErrRoomNotFound {
		t.Errorf("in a closed room: %v", err)
	}
	v.hears()
}
