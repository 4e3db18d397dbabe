//go:build linux

package attack

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// The TLS attacks connect again and again when the relay closes them. Those that want a
// crowd have an address each for a share of it, but for the one that tests the share of
// an address.

// helloBytes returns a ClientHello. The relay takes the same one any number of times.
func helloBytes() []byte {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() { _ = tls.Client(a, strangerTLS()).Handshake() }()
	hello := make([]byte, 16<<10)
	n, _ := b.Read(hello)
	return hello[:n]
}

// again has n goroutines call f until the end.
func (a *attacker) again(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for !a.over() {
				f(i)
			}
		})
	}
	all.Wait()
}

// strangers calls f like again, each time with a connection from the address that from
// returns for the goroutine, which is closed with RST afterwards. When the relay does not
// answer it waits a little.
func (a *attacker) strangers(from func(i int) string, f func(i int, c net.Conn)) {
	a.again(a.Count, func(i int) {
		p, err := connect(a.Addr, from(i), false)
		if err != nil {
			a.refused.Add(1)
			time.Sleep(100 * time.Millisecond)
			return
		}
		defer leave(p.conn)
		_ = p.conn.SetDeadline(a.end)
		f(i, p.conn)
	})
}

// leave closes a connection with RST.
func leave(c net.Conn) { (&peer{conn: c}).reset() }

// leftHandshakes keeps Count connections from one address, each of which has sent a
// ClientHello and says no more.
func leftHandshakes(a *attacker) error {
	hello := helloBytes()
	var begun atomic.Int64
	a.begin()
	a.strangers(func(int) string { return address(0) }, func(_ int, c net.Conn) {
		if _, err := c.Write(hello); err != nil {
			return
		}
		begun.Add(1)
		_, _ = io.Copy(io.Discard, c)
		time.Sleep(200 * time.Millisecond)
	})
	a.figure("begun", float64(begun.Load()))
	return nil
}

// fullHandshakes makes complete handshakes, Count at a time, without tickets.
func fullHandshakes(a *attacker) error {
	var made atomic.Int64
	a.begin()
	a.strangers(address, func(_ int, c net.Conn) {
		if tls.Client(c, strangerTLS()).Handshake() == nil {
			made.Add(1)
		}
	})
	a.figure("handshakes a second", float64(made.Load())/a.For.Seconds())
	return nil
}

// halfRecords has Count connections send all but a byte of a maximal record.
func halfRecords(a *attacker) error {
	const size = 1<<14 + 256
	half := append([]byte{recordData, 3, 3, size >> 8, size & 0xff}, make([]byte, size-1)...)
	var sent atomic.Int64
	a.each(a.Count, func(i int) {
		c, err := dialSecure(a.Addr, address(i), peerTimeout)
		if err != nil {
			a.refused.Add(1)
			return
		}
		a.hold(&peer{conn: c})
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := c.NetConn().Write(half); err != nil {
			a.refused.Add(1)
			return
		}
		sent.Add(1)
	})
	a.begin()
	a.figure("half records", float64(sent.Load()))
	a.rest()
	return nil
}

// uselessRecords floods on Count connections: with empty records, with KeyUpdates, with
// KeyUpdates that have a byte of data behind them, and with bytes in a record each.
func uselessRecords(a *attacker) error {
	var records, conns atomic.Int64
	a.begin()
	a.again(a.Count, func(i int) {
		s, err := newSealer(a.Addr, address(i))
		if err != nil {
			a.refused.Add(1)
			time.Sleep(50 * time.Millisecond)
			return
		}
		defer leave(s.conn)
		conns.Add(1)
		_ = s.conn.SetDeadline(a.end)
		go func() { _, _ = io.Copy(io.Discard, s.conn) }()
		const together = 200
		for wire := []byte(nil); ; wire = wire[:0] {
			for range together {
				switch i % 4 {
				case 0:
					wire = s.record(wire, recordData)
				case 1:
					wire = s.keyUpdate(wire)
				case 2:
					wire = s.record(s.keyUpdate(wire), recordData, '\n')
				case 3:
					wire = s.record(s.record(wire, recordData), recordData, '\n')
				}
			}
			if _, err := s.conn.Write(wire); err != nil {
				return
			}
			records.Add(together)
		}
	})
	a.figure("connections", float64(conns.Load()))
	a.figure("records", float64(records.Load()))
	return nil
}

// slowHandshakes has Count connections send a byte a second: half of them from the first
// byte on, the others behind a whole ClientHello.
func slowHandshakes(a *attacker) error {
	hello := helloBytes()
	second := []byte("\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x35")
	second = append(second, make([]byte, 0x35)...)
	a.begin()
	a.strangers(address, func(i int, c net.Conn) {
		rest := hello
		if i%2 == 0 {
			if _, err := c.Write(hello); err != nil {
				return
			}
			rest = second
		}
		for _, one := range rest {
			time.Sleep(time.Second)
			if _, err := c.Write([]byte{one}); err != nil {
				return
			}
		}
	})
	return nil
}

// garbage has Count connections at a time send what is no handshake, or no more one.
func garbage(a *attacker) error {
	hello := helloBytes()
	var sent atomic.Int64
	a.begin()
	a.strangers(address, func(_ int, c net.Conn) {
		wire := bytes.Clone(hello)
		switch rand.IntN(4) {
		case 0: // from the first byte on
			for i := range wire {
				wire[i] = byte(rand.Uint32())
			}
		case 1: // in the ClientHello
			for range 5 {
				wire[9+rand.IntN(len(wire)-9)] = byte(rand.Uint32())
			}
		case 2: // behind it
			wire = append(wire, "\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x35"...)
			wire = append(wire, make([]byte, 0x35)...)
		case 3: // an endless one
			wire = append(wire[:5], make([]byte, 15<<10)...)
			wire[3], wire[4], wire[5], wire[7], wire[8] = 0x40, 0, 1, 0x40, 0
		}
		if _, err := c.Write(wire); err == nil {
			sent.Add(1)
			_ = c.SetReadDeadline(time.Now().Add(time.Second / 4))
			_, _ = io.ReadFull(c, make([]byte, 1))
		}
	})
	a.figure("sent", float64(sent.Load()))
	return nil
}
