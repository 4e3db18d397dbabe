//go:build linux

package attack

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// attacks are what an attacker can do, by the names in plans.
var attacks = map[string]func(*attacker) error{
	"empty frames, unread":     emptyFramesUnread,
	"empty frames, read":       emptyFramesRead,
	"a host lists":             hostLists,
	"viewers list, unread":     viewersListUnread,
	"viewers list":             func(a *attacker) error { return viewersList(a, false) },
	"viewers list anywhere":    func(a *attacker) error { return viewersList(a, true) },
	"zeros":                    func(a *attacker) error { return largeMessages(a, "zeros") },
	"large messages":           func(a *attacker) error { return largeMessages(a, messageKinds...) },
	"no history":               noHistory,
	"deaf host":                deafHost,
	"histories":                histories,
	"histories, unread":        historiesUnread,
	"GETs, unread":             getsUnread,
	"event streams, unread":    streamsUnread,
	"silent connections":       silentConnections,
	"half messages, strangers": func(a *attacker) error { return halfMessages(a, "", 16<<10, 16<<10-1) },
	"half messages, hosts":     func(a *attacker) error { return halfMessages(a, `{"type":"create"}`, 1<<20, 1<<19) },
	"messages to the deaf":     messagesToTheDeaf,
	"API to a deaf host":       apiToADeafHost,
	"guesses":                  guesses,
	"fill rooms":               fillRooms,
	"kicks":                    kicks,
	"a hall comes back":        hallComesBack,
	"all rooms":                allRooms,
	"mistyped codes":           mistypedCodes,
	"handshakes left":          leftHandshakes,
	"full handshakes":          fullHandshakes,
	"half records":             halfRecords,
	"useless records":          uselessRecords,
	"slow handshakes":          slowHandshakes,
	"garbage":                  garbage,
	"bombs":                    func(a *attacker) error { return bombs(a, (*attacker).plain) },
	"bombs over TLS":           func(a *attacker) error { return bombs(a, (*attacker).secured) },
	"host bombs":               hostBombs,
	"hard to inflate":          hardToInflate,
}

// emptyFrames are 64 KiB of text frames without payload, each an error.
var emptyFrames = bytes.Repeat(textFrame(""), 64<<10/6)

func emptyFramesUnread(a *attacker) error {
	peers := make([]*peer, a.Count)
	a.each(a.Count, func(i int) { peers[i], _ = a.peer(i, true, "") })
	a.begin()
	var all sync.WaitGroup
	for _, p := range peers {
		if p != nil {
			all.Go(func() { a.write(p, emptyFrames) })
		}
	}
	all.Wait()
	a.rest()
	return nil
}

// emptyFramesRead sends 40 times 64 KiB a second on Count connections, reads the
// answers, and connects again when it is closed.
func emptyFramesRead(a *attacker) error {
	connect := func(i int) *peer {
		p, _ := a.peer(i, false, "")
		if p != nil {
			go p.drain()
		}
		return p
	}
	peers := make([]*peer, a.Count)
	a.each(a.Count, func(i int) { peers[i] = connect(i) })
	a.begin()
	a.paceEach(a.Count, 40/float64(a.Count), func(i, _ int) {
		if peers[i] == nil || !a.write(peers[i], emptyFrames) {
			peers[i] = connect(i)
		}
	})
	return nil
}

// named opens a room, joins n viewers with long names, and returns all of them.
func (a *attacker) named(n int, create string, deafHost, deafViewers bool) (host *peer, viewers []*peer) {
	host, room := a.peer(0, deafHost, create)
	if host == nil {
		return nil, nil
	}
	all := make([]*peer, n)
	a.each(n, func(i int) {
		name := fmt.Sprintf("%05d%s", i, strings.Repeat("n", 59))
		all[i], _ = a.peer(i, deafViewers, fmt.Sprintf(`{"type":"join","code":"%s","name":"%s"}`, room.Code, name))
	})
	for _, p := range all {
		if p != nil {
			viewers = append(viewers, p)
		}
	}
	return host, viewers
}

const listMessage = `{"type":"list","limit":1000}`

// hostLists has the host of a room with Count viewers send 64 KiB of requests for
// lists, as often as they are taken.
func hostLists(a *attacker) error {
	host, _ := a.named(a.Count, `{"type":"create"}`, true, false)
	a.begin()
	if host == nil {
		return nil
	}
	frame := textFrame(listMessage)
	for requests := bytes.Repeat(frame, 64<<10/len(frame)); a.write(host, requests); {
		time.Sleep(time.Second)
	}
	a.rest()
	return nil
}

// viewersListUnread has 400 of the Count viewers ask ten times and not read.
func viewersListUnread(a *attacker) error {
	_, viewers := a.named(a.Count, `{"type":"create","roster":true}`, false, true)
	a.begin()
	for _, p := range viewers[:len(viewers)*2/5] {
		a.write(p, bytes.Repeat(textFrame(listMessage), 10))
	}
	a.rest()
	return nil
}

// viewersList has Count viewers ask 9 times a second each, and read.
func viewersList(a *attacker, anywhere bool) error {
	_, viewers := a.named(a.Count, `{"type":"create","roster":true}`, false, false)
	a.begin()
	for _, p := range viewers {
		go p.drain()
	}
	a.paceEach(len(viewers), 9, func(i, _ int) {
		text := listMessage
		if anywhere {
			text = fmt.Sprintf(`{"type":"list","limit":1000,"after":%d}`, rand.IntN(a.Count))
		}
		a.write(viewers[i], textFrame(text))
	})
	return nil
}

// messageKinds are what costs a reader of JSON most.
var messageKinds = []string{"keys", "strings", "escapes", "deep"}

// largeMessage returns a broadcast of nearly a MiB.
func largeMessage(kind string) []byte {
	const most = 1<<20 - 100
	var data bytes.Buffer
	fill := func(begin, unit, end string) {
		data.WriteString(begin + strings.Repeat(unit+",", (most-len(begin)-len(end))/(len(unit)+1)) + unit + end)
	}
	switch kind {
	case "zeros":
		fill("[", "0", "]")
	case "strings":
		fill("[", `""`, "]")
	case "deep":
		fill("[", strings.Repeat("[", 290)+strings.Repeat("]", 290), "]")
	case "escapes":
		data.WriteString(`"` + strings.Repeat(`\n`, most/2) + `"`)
	case "keys":
		data.WriteString(`{"":0`)
		for i := 0; data.Len() < most-20; i++ {
			fmt.Fprintf(&data, `,"%x":0`, i)
		}
		data.WriteString("}")
	}
	return textFrame(`{"type":"command","data":` + data.String() + "}")
}

// largeMessages has Count hosts broadcast one a second each to nobody.
func largeMessages(a *attacker, kinds ...string) error {
	var hosts []*peer
	for i := range a.Count {
		if p, _ := a.peer(i, false, `{"type":"create"}`); p != nil {
			go p.drain()
			hosts = append(hosts, p)
		}
	}
	var messages [][]byte
	for _, kind := range kinds {
		messages = append(messages, largeMessage(kind))
	}
	a.begin()
	a.paceEach(len(hosts), 1, func(i, turn int) { a.write(hosts[i], messages[(i+turn)%len(messages)]) })
	return nil
}
