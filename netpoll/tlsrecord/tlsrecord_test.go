package tlsrecord

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lectern/netpoll/selfsigned"
)

const maxRecord = defaultMaxRecord

func testConfig(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	pair, err := selfsigned.New(time.Hour, "test")
	if err != nil {
		t.Fatal(err)
	}
	if server, client, err = pair.TLS(); err != nil {
		t.Fatal(err)
	}
	server.SetSessionTicketKeys([][32]byte{{1, 2, 3}})
	client.ServerName = "test"
	return server, client
}

// sockets returns the two ends of a TCP connection.
func sockets(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// handshake returns a server's record layer, its socket, and the client, which has
// written early right behind its handshake.
func handshake(t testing.TB, server, client *tls.Config, early string) (*Conn, net.Conn, *tls.Conn) {
	t.Helper()
	a, b := sockets(t)
	peer := tls.Client(a, client)
	done := make(chan error, 1)
	go func() {
		err := peer.Handshake()
		if err == nil && early != "" {
			_, err = peer.Write([]byte(early))
		}
		done <- err
	}()
	c, _, err := Server(context.Background(), b, server)
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return c, b, peer
}

// read opens what comes until there are n bytes of data.
func read(t testing.TB, c *Conn, socket net.Conn, n int) string {
	t.Helper()
	var plain []byte
	chunk := make([]byte, 1000)
	for len(plain) < n {
		m, err := socket.Read(chunk)
		if err == nil {
			plain, err = c.Open(plain, chunk[:m])
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(plain), err)
		}
	}
	return string(plain)
}

// write seals text and sends it.
func write(t testing.TB, c *Conn, socket net.Conn, text string) {
	t.Helper()
	for p := []byte(text); ; {
		record, n := c.Seal(nil, p)
		if len(record) == 0 {
			return
		}
		if len(record) > maxRecord {
			t.Errorf("a record of %d bytes", len(record))
		}
		if _, err := socket.Write(record); err != nil {
			t.Error(err)
			return
		}
		p = p[n:]
	}
}

func TestItTakesOverFromCryptoTLS(t *testing.T) {
	for name, suite := range map[string]func(s, c *tls.Config){
		"as negotiated":      func(_, _ *tls.Config) {},
		"without tickets":    func(s, _ *tls.Config) { s.SessionTicketsDisabled = true },
		"client certificate": func(s, c *tls.Config) { s.ClientAuth = tls.RequireAnyClientCert; c.Certificates = s.Certificates },
		"another curve":      func(s, _ *tls.Config) { s.CurvePreferences = []tls.CurveID{tls.CurveP384} },
	} {
		t.Run(name, func(t *testing.T) {
			server, client := testConfig(t)
			suite(server, client)
			early := "said right behind the handshake"
			c, socket, peer := handshake(t, server, client, early)
			if got := read(t, c, socket, len(early)); got != early {
				t.Errorf("read %q", got)
			}
			for _, size := range []int{1, 100, 4096, 20_000, 100_000} {
				text := string(bytes.Repeat([]byte("x"), size-1)) + "."
				go func() { _, _ = peer.Write([]byte(text)) }()
				if got := read(t, c, socket, size); got != text {
					t.Fatalf("%d bytes came as %d others", size, len(got))
				}
				var writing sync.WaitGroup
				writing.Go(func() { write(t, c, socket, text) })
				got := make([]byte, size)
				if _, err := io.ReadFull(peer, got); err != nil || string(got) != text {
					t.Fatalf("%d bytes arrived as %d others, %v", size, len(got), err)
				}
				writing.Wait()
			}
			if _, err := socket.Write(c.End(nil)); err != nil {
				t.Fatal(err)
			}
			if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("the end is %v", err)
			}
			_ = errors.Join(peer.CloseWrite(), peer.NetConn().(*net.TCPConn).CloseWrite())
			rest, _ := io.ReadAll(socket)
			if plain, err := c.Open(nil, rest); len(plain) != 0 || err != io.EOF {
				t.Errorf("the peer's end is %q, %v", plain, err)
			}
		})
	}
}

func TestSessionsAreResumed(t *testing.T) {
	server, client := testConfig(t)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for i, resumed := range []bool{false, true, true} {
		c, socket, peer := handshake(t, server, client, "x")
		read(t, c, socket, 1)
		write(t, c, socket, "y")
		if _, err := peer.Read(make([]byte, 1)); err != nil { // takes the ticket, too
			t.Fatal(err)
		}
		if got := peer.ConnectionState().DidResume; got != resumed {
			t.Errorf("connection %d resumed: %t", i, got)
		}
	}
}

func TestTLS12IsLeftToCryptoTLS(t *testing.T) {
	server, client := testConfig(t)
	client.MaxVersion = tls.VersionTLS12
	a, b := sockets(t)
	go func() { _ = tls.Client(a, client).Handshake() }()
	if _, conn, err := Server(context.Background(), b, server); !errors.Is(err, ErrVersion) || conn == nil {
		t.Errorf("got %v, %v", conn, err)
	}
}

// A pair is two record layers that talk to each other.
func pair(t testing.TB) (a, b *Conn) {
	t.Helper()
	one, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	for _, suite := range []uint16{tls.TLS_AES_128_GCM_SHA256} {
		var err1, err2 error
		a, err1 = New(State{CipherSuite: suite, ReadSecret: one, WriteSecret: other})
		b, err2 = New(State{CipherSuite: suite, ReadSecret: other, WriteSecret: one})
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

func TestSuites(t *testing.T) {
	for id, suite := range suites {
		secret := bytes.Repeat([]byte{7}, suite.hash().Size())
		a, err := New(State{CipherSuite: id, ReadSecret: secret, WriteSecret: secret})
		if err != nil {
			t.Fatal(err)
		}
		record, _ := a.Seal(nil, []byte("hello"))
		if plain, err := a.Open(nil, record); string(plain) != "hello" || err != nil {
			t.Errorf("%s: %q, %v", tls.CipherSuiteName(id), plain, err)
		}
	}
	if _, err := New(State{CipherSuite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}); err == nil {
		t.Error("a suite of TLS 1.2 is taken")
	}
}

// speech returns records of all kinds, as a sends them, and the data in them.
func speech(a *Conn) (wire []byte, said string) {
	say := func(text string, max int) {
		a.maxRecord = max
		for p := []byte(text); len(p) > 0; {
			record, n := a.Seal(nil, p)
			wire, p = append(wire, record...), p[n:]
		}
		said += text
	}
	say("first", maxRecord)
	wire = a.out.seal(wire, typeData, nil)
	say(string(bytes.Repeat([]byte("long "), 5000)), maxRecord)
	wire = a.out.seal(wire, typeHandshake, []byte{typeKeyUpdate, 0, 0, 1, 1})
	a.out.next()
	say("with another key", 30)
	wire = a.out.seal(wire, typeHandshake, []byte{typeNewSessionTicket, 0, 0, 3, 1})
	wire = a.out.seal(wire, typeHandshake, []byte{2, 3})
	wire = a.out.seal(wire, typeAlert, []byte{1, userCanceled})
	say("last", maxRecord)
	return wire, said
}

func TestRecordsCutEverywhere(t *testing.T) {
	a, _ := pair(t)
	wire, said := speech(a)
	for cut := range len(wire) {
		if cut > 2000 && cut%97 != 0 { // the long part is much the same
			continue
		}
		_, b := pair(t)
		plain, err := b.Open(nil, bytes.Clone(wire[:cut]))
		if err == nil {
			plain, err = b.Open(plain, bytes.Clone(wire[cut:]))
		}
		if err != nil || string(plain) != said {
			t.Fatalf("cut at %d: %d bytes of %d, %v", cut, len(plain), len(said), err)
		}
		if !b.update || b.partial != nil || b.message != nil {
			t.Fatalf("cut at %d: update %t, %d and %d bytes are kept", cut, b.update, len(b.partial), len(b.message))
		}
	}
	_, b := pair(t)
	var plain []byte
	for _, one := range wire {
		var err error
		if plain, err = b.Open(plain, []byte{one}); err != nil {
			t.Fatal(err)
		}
	}
	if string(plain) != said {
		t.Errorf("byte by byte %d bytes of %d came", len(plain), len(said))
	}
}

// TestKeysChange has the relay ask crypto/tls for a new key, again and again.
func TestKeysChange(t *testing.T) {
	server, client := testConfig(t)
	c, socket, peer := handshake(t, server, client, "")
	for i := range 10 {
		_, _ = socket.Write(c.out.seal(nil, typeHandshake, []byte{typeKeyUpdate, 0, 0, 1, 1}))
		c.out.next()
		text := fmt.Sprint("message ", i)
		write(t, c, socket, text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
		if _, err := peer.Write(got); err != nil {
			t.Fatal(err)
		}
		if got := read(t, c, socket, len(text)); got != text {
			t.Fatalf("%q came back", got)
		}
	}
	if c.in.seq > 3 {
		t.Errorf("crypto/tls goes on with the key of %d records", c.in.seq)
	}
}

func TestARequestForAKeyIsAnswered(t *testing.T) {
	a, b := pair(t)
	for range 3 {
		record := a.out.seal(nil, typeHandshake, []byte{typeKeyUpdate, 0, 0, 1, 1})
		a.out.next()
		if _, err := b.Open(nil, record); err != nil {
			t.Fatal(err)
		}
	}
	var wire []byte
	for _, text := range []string{"", "data"} {
		record, n := b.Seal(nil, []byte(text))
		if n != len(text) {
			t.Fatalf("%d bytes of %q were sealed", n, text)
		}
		wire = append(wire, record...)
	}
	if plain, err := a.Open(nil, wire); string(plain) != "data" || err != nil {
		t.Errorf("%q, %v", plain, err)
	}
	if record, _ := b.Seal(nil, nil); len(record) > 0 {
		t.Error("three requests are answered more than once")
	}
}

// TestAKeyIsNotUsedForEver has the record layer take new keys by itself, which crypto/tls
// follows. It never does so beside data, which may be taken back.
func TestAKeyIsNotUsedForEver(t *testing.T) {
	server, client := testConfig(t)
	c, socket, peer := handshake(t, server, client, "")
	c.maxSeals = 5
	keys := map[string]bool{}
	for i := range 50 {
		text := fmt.Sprint("message ", i)
		write(t, c, socket, text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
		keys[string(c.out.secret)] = true
	}
	if len(keys) < 8 {
		t.Errorf("50 records of 5 for each key had %d keys", len(keys))
	}

	a, b := pair(t)
	a.maxSeals = 5
	var wire []byte
	for range 20 { // as to a peer that is behind
		record, n := a.Seal(nil, []byte("data"))
		if n == 0 {
			t.Fatal("the key changes beside data")
		}
		a.Rewind(1)
		record, _ = a.Seal(record[:0], []byte("data"))
		wire = append(wire, record...)
	}
	for range 3 {
		record, _ := a.Seal(nil, nil)
		wire = append(wire, record...)
	}
	record, _ := a.Seal(nil, []byte("more"))
	if plain, err := b.Open(nil, append(wire, record...)); string(plain) != strings.Repeat("data", 20)+"more" || err != nil {
		t.Errorf("%q, %v", plain, err)
	}
	if a.out.seq != 1 {
		t.Errorf("the key has sealed %d records", a.out.seq)
	}
}

// TestKeyUpdatesCostData: a peer that changes its key with each byte is cut off, and a
// peer that does so now and then is not.
func TestKeyUpdatesCostData(t *testing.T) {
	for data, most := range map[int]int{1: 20, dataPerUpdate: 1000} {
		a, b := pair(t)
		updates := 0
		for updates < 1000 {
			wire := a.out.seal(nil, typeHandshake, []byte{typeKeyUpdate, 0, 0, 1, 0})
			a.out.next()
			for range data {
				wire = a.out.seal(wire, typeData, []byte("x"))
			}
			if _, err := b.Open(nil, wire); err != nil {
				if err != ErrTooManyUseless {
					t.Error(err)
				}
				break
			}
			updates++
		}
		if updates > most || data > 1 && updates < most {
			t.Errorf("with %d records of data each %d KeyUpdates are taken", data, updates)
		}
	}
}

func TestBrokenRecords(t *testing.T) {
	long := func(n int) []byte { return make([]byte, n) }
	many := func(n int, seal func(a *Conn) []byte) func(a *Conn) (wire []byte) {
		return func(a *Conn) (wire []byte) {
			for range n {
				wire = append(wire, seal(a)...)
			}
			return wire
		}
	}
	keyUpdate := func(a *Conn) []byte {
		record := a.out.seal(nil, typeHandshake, []byte{typeKeyUpdate, 0, 0, 1, 0})
		a.out.next()
		return record
	}
	for name, c := range map[string]struct {
		wire  func(a *Conn) []byte
		alert int // that is said; -1 for none
		err   string
	}{
		"plain alert":     {func(*Conn) []byte { return []byte{typeAlert, 3, 3, 0, 2, 1, 0} }, unexpectedMessage, "tls: unexpected_message"},
		"plain HTTP":      {func(*Conn) []byte { return []byte("GET / HTTP/1.1\r\n") }, unexpectedMessage, "tls: unexpected_message"},
		"change cipher":   {func(*Conn) []byte { return []byte{typeChangeCipherSpec, 3, 3, 0, 1, 1} }, unexpectedMessage, "tls: unexpected_message"},
		"too long":        {func(*Conn) []byte { return []byte{typeData, 3, 3, 0x41, 1} }, recordOverflow, "tls: record_overflow"},
		"no tag":          {func(*Conn) []byte { return []byte{typeData, 3, 3, 0, 3, 1, 2, 3} }, badRecordMAC, "tls: bad_record_mac"},
		"nothing":         {func(*Conn) []byte { return []byte{typeData, 3, 3, 0, 0} }, badRecordMAC, "tls: bad_record_mac"},
		"changed":         {func(a *Conn) []byte { r := a.out.seal(nil, typeData, []byte("x")); r[7] ^= 1; return r }, badRecordMAC, "tls: bad_record_mac"},
		"replayed":        {func(a *Conn) []byte { r := a.out.seal(nil, typeData, nil); return append(r, r...) }, badRecordMAC, "tls: bad_record_mac"},
		"of zeros":        {func(a *Conn) []byte { return a.out.seal(nil, 0, long(10)) }, unexpectedMessage, "tls: unexpected_message"},
		"too much":        {func(a *Conn) []byte { return a.out.seal(nil, typeData, long(maxPlain+1)) }, recordOverflow, "tls: record_overflow"},
		"unknown type":    {func(a *Conn) []byte { return a.out.seal(nil, 99, []byte("x")) }, unexpectedMessage, "tls: unexpected_message"},
		"empty handshake": {func(a *Conn) []byte { return a.out.seal(nil, typeHandshake, nil) }, unexpectedMessage, "tls: unexpected_message"},
		"client hello":    {func(a *Conn) []byte { return a.out.seal(nil, typeHandshake, []byte{1, 0, 0, 0}) }, unexpectedMessage, "tls: unexpected_message"},
		"long message":    {func(a *Conn) []byte { return a.out.seal(nil, typeHandshake, []byte{4, 1, 0, 0}) }, decodeError, "tls: decode_error"},
		"bad key update":  {func(a *Conn) []byte { return a.out.seal(nil, typeHandshake, []byte{typeKeyUpdate, 0, 0, 1, 2}) }, decodeError, "tls: decode_error"},
		"more after it":   {func(a *Conn) []byte { return a.out.seal(nil, typeHandshake, []byte{typeKeyUpdate, 0, 0, 1, 0, 4}) }, unexpectedMessage, "tls: unexpected_message"},
		"data in a message": {func(a *Conn) []byte {
			return a.out.seal(a.out.seal(nil, typeHandshake, []byte{4}), typeData, []byte("x"))
		}, unexpectedMessage, "tls: unexpected_message"},
		"alert of 1 byte": {func(a *Conn) []byte { return a.out.seal(nil, typeAlert, []byte{1}) }, decodeError, "tls: decode_error"},
		"fatal alert":     {func(a *Conn) []byte { return a.out.seal(nil, typeAlert, []byte{2, badRecordMAC}) }, -1, "tls: the peer sent bad_record_mac"},
		"unknown alert":   {func(a *Conn) []byte { return a.out.seal(nil, typeAlert, []byte{2, 200}) }, -1, "tls: the peer sent alert 200"},
		"empty records":   {many(maxUseless+1, func(a *Conn) []byte { return a.out.seal(nil, typeData, nil) }), unexpectedMessage, ErrTooManyUseless.Error()},
		"key updates":     {many(maxUseless+1, keyUpdate), unexpectedMessage, ErrTooManyUseless.Error()},
		"warnings":        {many(maxUseless+1, func(a *Conn) []byte { return a.out.seal(nil, typeAlert, []byte{1, userCanceled}) }), unexpectedMessage, ErrTooManyUseless.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			first, _ := a.Seal(nil, []byte("before"))
			plain, err := b.Open(nil, append(first, c.wire(a)...))
			if string(plain) != "before" || err == nil || err.Error() != c.err {
				t.Fatalf("opened %q, %v", plain, err)
			}
			if plain, err := b.Open(nil, []byte("more")); len(plain) > 0 || err == nil {
				t.Errorf("it goes on: %q, %v", plain, err)
			}
			record, n := b.Seal(nil, []byte("data"))
			if n != 0 {
				t.Error("data is sealed after an error")
			}
			if c.alert < 0 {
				if len(record) > 0 {
					t.Error("an alert is answered by one")
				}
				return
			}
			a.in.seq = 0
			alert := (*Alert)(nil)
			if _, err := a.Open(nil, record); !errors.As(err, &alert) || alert.Ours || int(alert.Code) != c.alert {
				t.Errorf("the peer hears %v", err)
			}
			if record, _ := b.Seal(nil, nil); len(record) > 0 {
				t.Error("the alert is said twice")
			}
		})
	}
}

func TestUsefulRecordsAreNotAFlood(t *testing.T) {
	a, b := pair(t)
	for range 10 * maxUseless {
		wire := a.out.seal(nil, typeData, nil)
		wire = a.out.seal(wire, typeData, []byte("x"))
		if plain, err := b.Open(nil, wire); string(plain) != "x" || err != nil {
			t.Fatal(plain, err)
		}
	}
}

func TestSealingAllocatesNothing(t *testing.T) {
	a, b := pair(t)
	text, record, plain := bytes.Repeat([]byte("x"), 256), make([]byte, 0, maxRecord), make([]byte, 0, maxRecord)
	if n := testing.AllocsPerRun(1000, func() {
		record, _ = a.Seal(record[:0], text)
		plain, _ = b.Open(plain[:0], record)
	}); n != 0 {
		t.Errorf("sealing and opening a record allocates %v times", n)
	}
}

// TestAnIdleConnectionTakesLittle holds that it is far below what a tls.Conn has.
func TestAnIdleConnectionTakesLittle(t *testing.T) {
	const conns, most = 2000, 3 << 10
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var all []*Conn
	for range conns / 2 {
		a, b := pair(t)
		all = append(all, a, b)
	}
	each := (heap() - before) / conns
	runtime.KeepAlive(all)
	t.Logf("%d bytes each", each)
	if each > most {
		t.Errorf("an idle connection has %d bytes", each)
	}
}

func FuzzOpen(f *testing.F) {
	a, _ := pair(f)
	wire, _ := speech(a)
	f.Add(wire[:200], 10)
	f.Add([]byte{typeData, 3, 3, 0, 17}, 3)
	f.Fuzz(func(t *testing.T, wire []byte, cut int) {
		_, b := pair(t)
		_, whole := pair(t)
		at := max(0, min(cut, len(wire)))
		plain, err := b.Open(nil, bytes.Clone(wire[:at]))
		if err == nil {
			plain, err = b.Open(plain, bytes.Clone(wire[at:]))
		}
		want, wantErr := whole.Open(nil, bytes.Clone(wire))
		if !bytes.Equal(plain, want) || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("cut at %d: %q, %v; whole: %q, %v", at, plain, err, want, wantErr)
		}
		alert := (*Alert)(nil)
		if err != nil && err != io.EOF && err != ErrTooManyUseless && !errors.As(err, &alert) {
			t.Fatal(err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	a, _ := pair(b)
	text, record := bytes.Repeat([]byte("x"), 256), make([]byte, 0, maxRecord)
	b.ReportAllocs()
	b.SetBytes(256)
	for b.Loop() {
		record, _ = a.Seal(record[:0], text)
	}
}

func BenchmarkKeyUpdate(b *testing.B) {
	a, c := pair(b)
	var plain, wire []byte
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		wire = a.out.seal(wire[:0], typeHandshake, []byte{typeKeyUpdate, 0, 0, 1, 1})
		a.out.next()
		wire = a.out.seal(wire, typeData, []byte("x"))
		c.updates = 0
		b.StartTimer()
		var err error
		if plain, err = c.Open(plain[:0], wire); err != nil {
			b.Fatal(err)
		}
	}
}
