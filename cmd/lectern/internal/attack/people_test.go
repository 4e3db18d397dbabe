//go:build linux

package attack

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// wrongCode returns a code like those that the relay gives, made of the
// characters seen in them.
func wrongCode(like []string) string {
	all := strings.ReplaceAll(strings.Join(like, ""), "-", "")
	return strings.Map(func(c rune) rune {
		if c == '-' {
			return c
		}
		return rune(all[rand.IntN(len(all))])
	}, like[0])
}

// guesser tries codes from one address over ten connections, 9 times a second on
// each, for some time, and returns how many the relay has looked at.
func (a *attacker) guesser(from string, like []string, lasts time.Duration) int {
	var looked atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(lasts)
	for range 10 {
		all.Go(func() {
			var p *peer
			for ; time.Now().Before(end); time.Sleep(time.Second / 9) {
				if p == nil {
					var err error
					if p, err = connect(a.Addr, from, false); err != nil {
						continue
					}
					_ = p.conn.SetDeadline(end.Add(time.Second))
					if _, err = p.open(""); err != nil {
						p.reset()
						p = nil
						continue
					}
				}
				got, err := p.ask(`{"type":"join","code":"` + wrongCode(like) + `"}`)
				switch {
				case err != nil:
					p.reset()
					p = nil
				case got.Error == "room_not_found":
					looked.Add(1)
				}
			}
			if p != nil {
				p.reset()
			}
		})
	}
	all.Wait()
	return int(looked.Load())
}

// guesses guesses codes for half of its time, and does so again from another
// address while wrong tokens on Count rooms of its own come from twenty.
func guesses(a *attacker) error {
	var mu sync.Mutex
	var codes []string
	a.each(a.Count, func(i int) {
		if p, room := a.peer(i, false, `{"type":"create"}`); p != nil {
			go p.drain()
			mu.Lock()
			codes = append(codes, room.Code)
			mu.Unlock()
		}
	})
	a.begin()
	if len(codes) == 0 {
		return nil
	}
	a.figure("looked at", float64(a.guesser("127.0.0.250", codes, a.For/2)))
	var all sync.WaitGroup
	var told atomic.Int64
	for i := range 20 {
		for j := range 20 {
			all.Go(func() {
				p, err := connect(a.Addr, fmt.Sprintf("127.0.1.%d", 1+i), false)
				if err != nil {
					return
				}
				defer p.reset()
				if _, err = p.open(""); err != nil {
					return
				}
				go p.drain()
				for n := j; !a.over(); n += 20 {
					if p.say(fmt.Sprintf(`{"type":"resume","code":"%s","token":"wrong"}`, codes[n%len(codes)])) != nil {
						return
					}
					told.Add(1)
					time.Sleep(time.Second / 9)
				}
			})
		}
	}
	a.figure("looked at beside wrong tokens", float64(a.guesser("127.0.0.251", codes, time.Until(a.end))))
	all.Wait()
	a.figure("wrong tokens", float64(told.Load()))
	return nil
}

// mistypedCodes has Count people behind one address mistype a code, and a fifth
// as many then join the innocent room, one after the other.
func mistypedCodes(a *attacker) error {
	const school = "127.0.0.100"
	a.begin()
	try := func(code string) (got answer, took time.Duration) {
		began := time.Now()
		p, err := connect(a.Addr, school, false)
		if err != nil {
			return answer{Error: err.Error()}, 0
		}
		defer p.reset()
		_ = p.conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err = p.open(""); err == nil {
			got, err = p.ask(`{"type":"join","code":"` + code + `"}`)
		}
		if err != nil {
			got.Error = err.Error()
		}
		return got, time.Since(began)
	}
	a.each(a.Count, func(int) { try(wrongCode([]string{a.Code})) })
	in, worst := 0, time.Duration(0)
	for range a.Count / 5 {
		got, took := try(a.Code)
		worst = max(worst, took)
		if got.Type == "joined" {
			in++
		}
	}
	a.figure("asked", float64(a.Count/5))
	a.figure("in", float64(in))
	a.figure("slowest ms", float64(worst.Milliseconds()))
	return nil
}

// allRooms opens up to Count rooms from one address and leaves them.
func allRooms(a *attacker) error {
	connections := max(1, a.Count/25)
	peers := make([]*peer, connections)
	a.each(connections, func(i int) {
		p, err := connect(a.Addr, "127.0.0.2", false)
		if err == nil {
			_, err = p.open("")
		}
		if err == nil {
			peers[i] = p
			a.hold(p)
		}
	})
	a.begin()
	var opened atomic.Int64
	var all sync.WaitGroup
	for _, p := range peers {
		if p == nil {
			continue
		}
		all.Go(func() {
			_ = p.conn.SetDeadline(a.end)
			for ; !a.over() && opened.Load() < int64(a.Count); time.Sleep(time.Second / 9) {
				got, err := p.ask(`{"type":"create"}`)
				if err != nil {
					return
				}
				if got.Type != "created" {
					a.refused.Add(1)
					continue
				}
				opened.Add(1)
				if _, err = p.ask(`{"type":"leave"}`); err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	a.figure("rooms", float64(opened.Load()))
	a.rest()
	return nil
}

// kicks has a host kick Count viewers, and then broadcast 20 times a second.
func kicks(a *attacker) error {
	host, room := a.peer(0, false, `{"type":"create"}`)
	if host == nil {
		return fmt.Errorf("no room: %s", room.Error)
	}
	go host.drain()
	var saying sync.Mutex
	var kicked atomic.Int64
	a.each(a.Count, func(i int) {
		p, err := connect(a.Addr, address(i), false)
		if err != nil {
			return
		}
		defer p.reset()
		_ = p.conn.SetDeadline(time.Now().Add(peerTimeout))
		if _, err := p.open(`{"type":"join","code":"` + room.Code + `"}`); err != nil {
			return
		}
		// Ids count from 1, and nobody else joins.
		saying.Lock()
		_ = host.say(fmt.Sprintf(`{"type":"kick","id":%d}`, kicked.Add(1)))
		saying.Unlock()
		_, _ = p.next() // closed
	})
	a.figure("kicked", float64(kicked.Load()))
	a.begin()
	a.pace(20, func(int) { _ = host.say(smallBroadcast) })
	return nil
}

// hallComesBack has Count viewers end all at once, and nine tenths of them come
// back with their tokens in random order.
func hallComesBack(a *attacker) error {
	host, room := a.peer(0, false, `{"type":"create"}`)
	if host == nil {
		return fmt.Errorf("no room: %s", room.Error)
	}
	go host.drain()
	peers, tokens := make([]*peer, a.Count), make([]string, a.Count)
	a.each(a.Count, func(i int) {
		p, me := a.peer(i, false, `{"type":"join","code":"`+room.Code+`","name":"somebody"}`)
		peers[i], tokens[i] = p, me.Token
	})
	rand.Shuffle(len(tokens), func(i, j int) { tokens[i], tokens[j] = tokens[j], tokens[i] })
	a.begin()
	for _, p := range peers {
		if p != nil {
			p.reset()
		}
	}
	began := time.Now()
	var asked, back atomic.Int64
	a.each(a.Count*9/10, func(i int) {
		asked.Add(1)
		if p, _ := a.peer(i, false, fmt.Sprintf(`{"type":"join","code":"%s","token":"%s","name":"somebody"}`, room.Code, tokens[i])); p != nil {
			back.Add(1)
		}
	})
	a.figure("asked", float64(asked.Load()))
	a.figure("back", float64(back.Load()))
	a.figure("seconds", time.Since(began).Round(10*time.Millisecond).Seconds())
	return nil
}

// fillRooms opens Count rooms with 128 KiB of broadcasts each.
func fillRooms(a *attacker) error {
	_, codes := a.fullRooms(a.Count, `{"type":"command","data":"`+strings.Repeat("x", 16<<10)+`"}`, 8)
	a.figure("rooms", float64(len(codes)))
	a.begin()
	a.rest()
	return nil
}
