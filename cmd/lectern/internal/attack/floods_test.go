//go:build linux

package attack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// flood broadcasts or says messages of 64 KiB, 50 MB a second, until the end.
func (a *attacker) flood(p *peer) {
	const size = 64 << 10
	frame := textFrame(`{"type":"command","data":"` + strings.Repeat("x", size-30) + `"}`)
	sent := 0
	a.pace(50e6/size, func(int) {
		if a.write(p, frame) {
			sent++
		}
	})
	a.figure("MB", float64(sent*size>>20))
}

// noHistory has Count viewers wait for a history that their host does not tell,
// while it floods. What it has said before is more than the relay keeps.
func noHistory(a *attacker) error {
	host, room := a.peer(0, false, `{"type":"create"}`)
	if host == nil {
		a.begin()
		return nil
	}
	go host.drain()
	frame := textFrame(`{"type":"command","data":"` + strings.Repeat("x", 60<<10) + `"}`)
	if _, err := host.conn.Write(bytes.Repeat(frame, 20)); err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond)
	for i := range a.Count {
		a.peer(i, true, `{"type":"join","code":"`+room.Code+`","history":true}`)
	}
	a.begin()
	a.flood(host)
	return nil
}

// deafHost grants the host's place to a viewer whose socket is full, which then
// floods.
func deafHost(a *attacker) error {
	host, room := a.peer(0, false, `{"type":"create"}`)
	if host == nil {
		a.begin()
		return nil
	}
	v, me := a.peer(1, true, `{"type":"join","code":"`+room.Code+`"}`)
	go host.drain()
	if v != nil {
		frame := textFrame(`{"type":"command","data":"` + strings.Repeat("x", 60<<10) + `"}`)
		if _, err := host.conn.Write(bytes.Repeat(frame, 30)); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
		if err := host.say(fmt.Sprintf(`{"type":"grant_host","id":%d}`, me.ID)); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
	a.begin()
	if v != nil {
		a.flood(v)
	}
	return nil
}

// fullRooms opens n rooms whose history the relay keeps, and has each host
// broadcast so many times.
func (a *attacker) fullRooms(n int, broadcast string, times int) (hosts []*peer, codes []string) {
	all := bytes.Repeat(textFrame(broadcast), times)
	var mu sync.Mutex
	a.each(n, func(i int) {
		p, room := a.peer(i, false, `{"type":"create","history":"relay"}`)
		if p == nil {
			return
		}
		go p.drain()
		if _, err := p.conn.Write(all); err != nil {
			a.refused.Add(1)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		hosts, codes = append(hosts, p), append(codes, room.Code)
	})
	time.Sleep(500 * time.Millisecond)
	return hosts, codes
}

const smallBroadcast = `{"type":"command","data":1}`

// histories has 122 viewers a second join Count rooms and ask for the history.
func histories(a *attacker) error {
	_, codes := a.fullRooms(a.Count, smallBroadcast, sized(6000, 1000))
	a.begin()
	if len(codes) == 0 {
		return nil
	}
	a.pace(122, func(i int) {
		go func() {
			p, _ := a.peer(i, false, `{"type":"join","history":true,"code":"`+codes[i%len(codes)]+`"}`)
			if p != nil {
				_ = p.conn.SetReadDeadline(time.Now().Add(time.Second))
				p.drain()
				p.reset()
			}
		}()
	})
	return nil
}

// historiesUnread has Count viewers ask for the histories of 150 rooms, which grow
// meanwhile, and not read them. As many rooms as that have a new history for most
// of the viewers, although each is put together once a second at most.
func historiesUnread(a *attacker) error {
	hosts, codes := a.fullRooms(150, smallBroadcast, sized(6000, 1000))
	a.begin()
	if len(codes) == 0 {
		return nil
	}
	rate := float64(a.Count) / a.For.Seconds()
	a.pace(rate, func(i int) {
		a.write(hosts[i%len(hosts)], textFrame(smallBroadcast))
		go a.peer(i, true, `{"type":"join","history":true,"code":"`+codes[i%len(codes)]+`"}`)
	})
	return nil
}

// halfMessages has Count connections send the beginning of a message.
func halfMessages(a *attacker, first string, size, sent int) error {
	half := append(appendHead(nil, opText, size), bytes.Repeat([]byte(" "), sent)...)
	a.each(a.Count, func(i int) {
		if p, _ := a.peer(i, true, first); p != nil {
			_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := p.conn.Write(half); err != nil {
				a.refused.Add(1)
			}
		}
	})
	a.begin()
	a.rest()
	return nil
}

// messagesToTheDeaf has a host send a MiB to each of Count viewers that do not
// read, again and again, 80 MB a second.
func messagesToTheDeaf(a *attacker) error {
	host, room := a.peer(0, false, `{"type":"create"}`)
	if host == nil {
		a.begin()
		return nil
	}
	var mu sync.Mutex
	var ids []int
	a.each(a.Count, func(i int) {
		if p, me := a.peer(i, true, `{"type":"join","code":"`+room.Code+`"}`); p != nil {
			mu.Lock()
			ids = append(ids, me.ID)
			mu.Unlock()
		}
	})
	go host.drain()
	a.begin()
	if len(ids) == 0 {
		return nil
	}
	const size = 1<<20 - 100
	data := strings.Repeat("x", size)
	a.pace(80e6/size, func(i int) {
		a.write(host, textFrame(fmt.Sprintf(`{"type":"message","to":%d,"data":"%s"}`, ids[i%len(ids)], data)))
	})
	return nil
}

// apiToADeafHost makes Count rooms over HTTP, whose hosts do not read, and
// broadcasts a MB to each, again and again.
func apiToADeafHost(a *attacker) error {
	client := http.Client{Timeout: peerTimeout}
	post := func(path, body string) (status int, data struct{ Data answer }, err error) {
		request, err := http.NewRequest(http.MethodPost, "http://"+a.Addr+"/v1/api/rooms"+path, strings.NewReader(body))
		if err != nil {
			return 0, data, err
		}
		request.Header.Set("Authorization", "Bearer "+a.APIKey)
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			return 0, data, err
		}
		defer response.Body.Close()
		all, _ := io.ReadAll(response.Body)
		_ = json.Unmarshal(all, &data)
		return response.StatusCode, data, nil
	}
	var codes []string
	for i := range a.Count {
		status, made, err := post("", `{}`)
		if err != nil || status != http.StatusCreated {
			return fmt.Errorf("a room was answered %d: %w", status, err)
		}
		host, _ := a.peer(i, true, fmt.Sprintf(`{"type":"resume","code":"%s","token":"%s"}`, made.Data.Code, made.Data.Token))
		if host != nil {
			codes = append(codes, made.Data.Code)
		}
	}
	a.begin()
	if len(codes) == 0 {
		return nil
	}
	body := `{"data":"` + strings.Repeat("x", 1_000_000) + `"}`
	const programs = 6
	a.paceEach(programs, 10, func(i, turn int) {
		if status, _, err := post("/"+codes[(turn*programs+i)%len(codes)]+"/broadcast", body); err != nil || status != http.StatusOK {
			a.refused.Add(1)
		}
	})
	return nil
}

// getsUnread has Count connections ask for a page and not read it.
func getsUnread(a *attacker) error {
	a.begin()
	a.each(a.Count, func(i int) {
		if p := a.bare(i); p != nil {
			_, _ = p.conn.Write([]byte("GET /v1/api/openapi.json HTTP/1.1\r\nHost: lectern\r\n\r\n"))
		}
	})
	a.rest()
	return nil
}

// streamsUnread has Count connections ask for event streams and not read them, while
// their room's host says more than any socket takes. Every fourth asks for a room that
// does not exist.
func streamsUnread(a *attacker) error {
	host, room := a.peer(0, false, `{"type":"create"}`)
	a.begin()
	if host == nil {
		return nil
	}
	go host.drain()
	a.each(a.Count, func(i int) {
		p := a.bare(i)
		if p == nil {
			return
		}
		code := room.Code
		if i%4 == 0 {
			code = fmt.Sprintf("ZZZZ-%04d", i%10_000)
		}
		_, _ = p.conn.Write([]byte("GET /v1/rooms/" + code + "/events?history=true&name=" + strings.Repeat("x", 64) + " HTTP/1.1\r\nHost: lectern\r\n\r\n"))
	})
	frame := textFrame(`{"type":"command","data":"` + strings.Repeat("x", 60<<10) + `"}`)
	a.pace(10, func(int) { a.write(host, frame) })
	return nil
}

// silentConnections keeps Count connections that say nothing.
func silentConnections(a *attacker) error {
	a.begin()
	var all sync.WaitGroup
	for i := range a.Count {
		all.Go(func() {
			for ; !a.over(); time.Sleep(200 * time.Millisecond) {
				if p := a.bare(i); p != nil {
					_ = p.conn.SetReadDeadline(a.end)
					p.drain()
					p.reset()
				}
			}
		})
	}
	all.Wait()
	return nil
}
