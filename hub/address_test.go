package hub

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// knowsAddresses fails unless the table of addresses has this many entries.
func (r *testRelay) knowsAddresses(want int) {
	r.t.Helper()
	if n := r.hub.addresses.Len(); n != want {
		r.t.Errorf("the table has %d addresses, want %d", n, want)
	}
}

func TestRoomsOfOneAddressOnePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 2, Config{MaxRoomsPerAddress: 2})
		const school = "2001:db8:0:1::7"
		host := r.visitor(school)
		host.gets("created", `{"type":"create"}`)
		other := r.visitor("2001:db8:0:1::8") // of the same /64
		room := other.gets("created", `{"type":"create"}`)
		one := r.visitor(school)
		e := one.fails("too_many_rooms", `{"type":"create"}`)
		if !strings.Contains(e.Message, "--max-rooms-per-address") {
			t.Errorf("the operator is told %q", e.Message)
		}
		if n := r.hub.Refusals()["rooms_per_address"]; n != 1 {
			t.Errorf("%d refusals are counted", n)
		}
		r.visitor("2001:db8:0:2::7").gets("created", `{"type":"create"}`)
		for range 3 { // the API's rooms do not count
			if _, _, err := r.hub.CreateRoom(RoomOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		// It counts until it closes, although its host is elsewhere now.
		r.visitor("192.0.2.7").gets("created", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
		other.reset()
		one.fails("too_many_rooms", `{"type":"create"}`)
		host.gets("closed", `{"type":"close"}`)
		one.gets("created", `{"type":"create"}`)
		one.reset()
		host.fails("too_many_rooms", `{"type":"create"}`)
		r.sleep(15 * time.Second)
		host.gets("created", `{"type":"create"}`)
	})
}

func TestTooManyRoomsDoNotCountForTheirAddress(t *testing.T) {
	r := newTestRelay(t, 1, Config{MaxRooms: 1, MaxRoomsPerAddress: 2})
	host, _ := r.opens(0, "")
	for range 3 {
		if e := r.dial(0).fails("too_many_rooms", `{"type":"create"}`); strings.Contains(e.Message, "address") {
			t.Errorf("heard %s", e.text)
		}
	}
	host.gets("closed", `{"type":"close"}`)
	host.gets("created", `{"type":"create"}`)
}

func TestConnectionsOfOneAddressOnePast(t *testing.T) {
	config := Config{MaxConnectionsPerAddress: 2, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	r := newTestRelay(t, 1, config)
	const school = "198.51.100.7"
	through := func(peer, client string) *peer { // a proxy tells the client
		p := r.connect(0)
		p.from = netip.MustParseAddr(peer)
		p.bytes([]byte(strings.Replace(testHead, "Host: test\r\n", "Host: test\r\nX-Forwarded-For: "+client+"\r\n", 1)))
		_, p.wire, _ = cutHead(p.wire)
		return p
	}
	first, second := r.visitor(school), through("10.1.2.3", school)
	third := through("10.1.2.3", school)
	third.hears(`{"type":"error","error":"server_full","message":"there are 2 connections from this address already (--max-connections-per-address)*`,
		`{"type":"closed","reason":"server_full"}`, "close 1013")
	if n := r.hub.Refusals()["connections_per_address"]; n != 1 {
		t.Errorf("%d refusals are counted", n)
	}
	if report := r.hub.TakeRefusals(); len(report) == 0 || report[0].From[0].String() != school {
		t.Errorf("the refusals are %+v", report)
	}
	through("10.1.2.3", "198.51.100.8").gets("pong", `{"type":"ping"}`)
	r.visitor("10.1.2.3").gets("pong", `{"type":"ping"}`)
	third.reset()
	second.reset()
	fourth := r.visitor(school)
	fourth.gets("pong", `{"type":"ping"}`)
	first.gets("pong", `{"type":"ping"}`)
}

// cutHead takes the answer to a handshake off what came.
func cutHead(wire []byte) (head string, rest []byte, found bool) {
	before, after, found := strings.Cut(string(wire), "\r\n\r\n")
	return before, []byte(after), found
}

// TestTheTableOfAddressesIsAsLargeAsItsUse checks that an entry lives as long
// as a connection or a room refers to it.
func TestTheTableOfAddressesIsAsLargeAsItsUse(t *testing.T) {
	r := newTestRelay(t, 1, Config{})
	r.knowsAddresses(0)
	var all []*peer
	for i := range 500 {
		p := r.visitor(fmt.Sprintf("198.51.%d.%d", i/200, i%200))
		p.gets("created", `{"type":"create"}`)
		all = append(all, p)
	}
	r.knowsAddresses(500)
	tokens := make([]string, len(all))
	for i, p := range all {
		tokens[i] = fmt.Sprintf(`"code":"%s","token":"%s"`, p.session.room.code, p.hostToken())
		p.reset()
		p.reset()
	}
	r.knowsAddresses(500) // their rooms wait
	for _, token := range tokens {
		host := r.visitor("192.0.2.1")
		host.gets("created", `{"type":"resume",%s}`, token)
		host.gets("closed", `{"type":"close"}`)
		host.reset()
	}
	r.knowsAddresses(0)
	r.connect(0).reset() // never shook hands
	if p := r.connect(0); true {
		p.from = netip.Addr{} // has gone already
		p.bytes([]byte(testHead))
		p.reset()
	}
	r.knowsAddresses(0)
}

// TestRoomsThatNobodyJoinedWaitShortly for their host to come back.
func TestRoomsThatNobodyJoinedWaitShortly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRelay(t, 1, Config{})
		open := func(want int) {
			t.Helper()
			if n := r.hub.Stats().Rooms; n != want {
				t.Errorf("%d rooms are open, want %d", n, want)
			}
		}
		host, room := r.opens(0, "")
		host.reset()
		r.sleep(15*time.Second - time.Millisecond)
		host = r.dial(0)
		host.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, room.Code, room.Token)
		r.sleep(time.Hour)
		open(1)
		host.reset()
		r.sleep(15*time.Second - time.Millisecond)
		open(1)
		r.sleep(time.Millisecond)
		open(0)
		// A room that a viewer has joined, or that the API created, waits
		// longer.
		host, room = r.opens(0, "")
		v, _ := r.enters(0, room.Code, "")
		v.reset()
		host.reset()
		info, token, err := r.hub.CreateRoom(RoomOptions{})
		if err != nil {
			t.Fatal(err)
		}
		made := r.dial(0)
		made.gets("created", `{"type":"resume","code":"%s","token":"%s"}`, info.Code, token)
		made.reset()
		r.sleep(time.Minute - time.Millisecond)
		open(2)
		r.sleep(time.Millisecond)
		open(0)
		r.knowsAddresses(0)
	})
}

// TestNobodyFillsTheRelayWithRooms creates rooms from one address and leaves
// each at once. That attack once filled all 10,000 rooms.
func TestNobodyFillsTheRelayWithRooms(t *testing.T) {
	r := newTestRelay(t, 1, Config{ViewerRate: 1 << 30})
	opened := 0
	for range 10_000 {
		p := r.visitor("198.51.100.7")
		if p.ask(`{"type":"create"}`).Type == "created" {
			opened++
		}
		p.reset()
	}
	if opened != 200 {
		t.Errorf("one address has opened %d rooms", opened)
	}
	r.dial(0).gets("created", `{"type":"create"}`)
}
