package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A peer is a connection made with one of the client libraries. Its methods
// fail the test that it was started in.
type peer interface {
	say(text string)
	hear() heard
	leave() heard // closes the connection and returns its end
}

// heard is a message, or the end of the connection.
type heard struct {
	Text   string
	Closed int // the close code; 0 with a message
	Reason string
}

// kinds are the client libraries. None of them is the project's own, or used by
// the relay.
var kinds = []struct {
	name   string
	absent func() string // why it cannot be used here, or empty
	start  func(t *testing.T, url string) peer
	watch  func(t *testing.T, url, code string, numbered bool, to chan heard) // a viewer that comes back
}{
	{"go", func() string { return "" }, startGo, watchGo},
	{"python", func() string { _, why := FindPython(); return why }, startPython, watchPython},
	{"node", absentNode, startNode, watchNode},
	{"chromium", absentChromium, startChromium, watchChromium},
}

// clientsDir holds the peers that are not written in Go, and what they need.
const clientsDir = "testdata/clients"

// TestClients has one of each kind host a room with viewers of all kinds. Over TLS, the
// viewers are of its own kind and of the next one: each library sends and receives
// records, and which one was the sender does not show in what the relay sends.
func TestClients(t *testing.T) {
	t.Parallel()
	over(t, func(t *testing.T, flags []string) { testClients(t, flags) })
}

// over runs a test over plain connections and over TLS.
func over(t *testing.T, test func(t *testing.T, flags []string)) {
	t.Run("ws", func(t *testing.T) { test(t, nil) })
	t.Run("wss", func(t *testing.T) { test(t, secure) })
}

func testClients(t *testing.T, flags []string) {
	for i, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			if why := kind.absent(); why != "" {
				Missing(t, why)
			}
			t.Parallel()
			b := startBinary(t, append([]string{"--host-grace=0", "--retain-messages=1", "--compress-min=0"}, flags...)...) // the host answers, however long that takes
			viewers := make(map[string]peer)
			for j, k := range kinds {
				beside := j == i || j == (i+1)%len(kinds)
				if k.absent() == "" && (beside || len(flags) == 0) {
					viewers[k.name] = k.start(t, b.url("/"))
				}
			}
			late := kinds[(i+1)%len(kinds)]
			if late.absent() != "" {
				late = kinds[0]
			}
			clients := len(viewers) + 2
			host := kind.start(t, b.url("/v1/websocket"))
			lecture(t, host, viewers, late.start(t, b.url("/")))

			// Each of these libraries offers compression, and all understood it.
			if agreed := b.metric("lectern_compression_agreed_total"); int(agreed) != clients {
				t.Errorf("%v of %d clients agreed on compression", agreed, clients)
			}
			if b.metric("lectern_broadcasts_compressed_total") < 1 || b.metric(`lectern_compression_bytes_total{stage="after"}`) > b.metric(`lectern_compression_bytes_total{stage="before"}`)/10 {
				t.Error("nothing was compressed")
			}
			if b.metric("lectern_messages_inflated_total") < 1 {
				t.Error("the host compressed nothing")
			}

			if end := host.leave(); end.Closed != 1000 && end.Closed != 1005 {
				t.Errorf("the host that left heard %+v", end)
			}
			eventually(t, "nothing is left", func() bool {
				return b.metric("lectern_rooms") == 0 && b.metric(`lectern_connections{phase="open"}`) == 0
			})
		})
	}
}

// lecture goes through the life of a room. It expects every message that a client
// gets, so each must arrive once and in order.
func lecture(t *testing.T, host peer, viewers map[string]peer, late peer) {
	t.Helper()
	expectAll := func(texts ...string) {
		t.Helper()
		for name, viewer := range viewers {
			expectHeard(t, "viewer "+name, viewer, texts...)
		}
	}

	code := create(t, host)
	for _, viewer := range viewers {
		viewer.say(` { "code" : "` + strings.ToLower(code) + `" , "type" : "join" } `)
	}
	expectAll(`{"type":"joined","code":"` + code + `",*`)

	broadcasts := oddBroadcasts()
	for _, text := range broadcasts {
		host.say(text)
	}
	expectAll(broadcasts...)

	// All ask before the host answers: the refusal of the second question shows
	// that the first was taken.
	for name, viewer := range viewers {
		viewer.say(`{"type":"history_request"}`)
		viewer.say(`{"type":"history_request"}`)
		if answer := viewer.hear(); !strings.Contains(answer.Text, `"too_fast"`) {
			t.Fatalf("viewer %s asked twice and heard %+v", name, answer)
		}
	}
	expectHeard(t, "the host", host, `{"type":"history_request"}`)
	host.say(`{"type":"command","data":"before the history, and in it"}`)
	host.say(`{ "type":"history", "commands":[ "/rep cartoon protein", "Zürich" ] }`)
	host.say(`{"type":"command","data":"after the history"}`)
	expectAll(`{ "type":"history", "commands":[ "/rep cartoon protein", "Zürich" ] }`,
		`{"type":"command","data":"after the history"}`)

	// A viewer that joins a moment later gets the same history. After more than a
	// second the relay asks the host again.
	late.say(`{"type":"join","code":"` + code + `","history":true}`)
	expectHeard(t, "the late viewer", late, `{"type":"joined","code":"`+code+`",*`)
	host.say(`{"type":"history","commands":["late"]}`)
	host.say(`{"type":"activate","data":"after"}`)
	if told := late.hear(); told.Text == `{"type":"history","commands":["late"]}` {
		expectHeard(t, "the host", host, `{"type":"history_request"}`)
	} else {
		if told.Text != `{ "type":"history", "commands":[ "/rep cartoon protein", "Zürich" ] }` {
			t.Fatalf("the late viewer heard %+v", told)
		}
		expectHeard(t, "the late viewer", late, `{"type":"command","data":"after the history"}`)
	}
	expectHeard(t, "the late viewer", late, `{"type":"activate","data":"after"}`)
	expectAll(`{"type":"activate","data":"after"}`)

	host.say(`{"type":"close"}`)
	expectHeard(t, "the host", host, `{"type":"closed","reason":"host_closed"}`)
	viewers["late"] = late
	expectAll(`{"type":"closed","reason":"host_closed"}`)
	for name, viewer := range viewers {
		if end := viewer.hear(); end != (heard{Closed: 4000, Reason: "host_closed"}) {
			t.Errorf("viewer %s was closed with %+v, want 4000", name, end)
		}
	}
	if again := create(t, host); again == code {
		t.Errorf("the next room has the code %s again", again)
	}
}

// create opens a room and returns its code.
func create(t *testing.T, host peer) string {
	t.Helper()
	host.say(`{"type":"create"}`)
	answer := host.hear()
	var created struct{ Type, Code string }
	if err := json.Unmarshal([]byte(answer.Text), &created); err != nil || created.Type != "created" {
		t.Fatalf("create was answered with %+v, %v", answer, err)
	}
	return created.Code
}

// expectHeard checks what a client hears that knows only CodeMol's protocol: it ignores
// other types. An asterisk at the end stands for keys that it does not know.
func expectHeard(t *testing.T, who string, p peer, texts ...string) {
	t.Helper()
	for i, want := range texts {
		got := p.hear()
		for strings.HasPrefix(got.Text, `{"type":"presence",`) {
			got = p.hear()
		}
		begin, open := strings.CutSuffix(want, "*")
		if got != (heard{Text: want}) && !(open && strings.HasPrefix(got.Text, begin)) {
			t.Fatalf("%s heard %.300q (close code %d) as number %d, want %.300q", who, got.Text, got.Closed, i, want)
		}
	}
}

// oddBroadcasts are messages that would change if the relay parsed and encoded them
// again, among many that differ only in their order.
func oddBroadcasts() []string {
	texts := []string{
		`{"type":"command","data":"/rep cartoon protein"}`,
		`{"type":"activate","data":"1CRN"}`,
		" \t{ \"data\" : [ 1 ,2,\r\n3 ] ,\n\"type\":\"command\" }\r\n ",
		`{"data":{"type":"close"},"type":"activate"}`,
		`{"type":"command","data":"Zürich, Ελλάδα, 東京, 🎓, é and é"}`,
		`{"type":"command","data":"\u005a\u00fcrich \/ \ud83c\udf93 \ud800 \u0000 \" \\"}`,
		`{"type":"comm\u0061nd","data":"an escaped type"}`,
		"{\"type\":\"command\",\"data\":\"\u2028\u2029\ufeff\u007f\"}",
		`{"type":"command","data":1.0E+400,"more":[-0,0.10,12345678901234567890]}`,
		`{"type":"command","data":null,"":"","k":1,"k":2}`,
		`{"type":"command","data":"` + strings.Repeat("long ", 40<<10) + `"}`,
	}
	for i := range 200 {
		texts = append(texts, fmt.Sprintf(`{"type":"command","data":%d}`, i))
	}
	return texts
}

// goPeer is a peer on github.com/coder/websocket.
type goPeer struct {
	t *testing.T
	c *websocket.Conn
}

func startGo(t *testing.T, url string) peer {
	return goPeer{t, dialWith(t, url, &websocket.DialOptions{CompressionMode: websocket.CompressionNoContextTakeover})}
}

func (p goPeer) say(text string) { say(p.t, p.c, text) }

func (p goPeer) hear() heard {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	kind, text, err := p.c.Read(ctx)
	if end, ok := errors.AsType[websocket.CloseError](err); ok {
		return heard{Closed: int(end.Code), Reason: end.Reason}
	}
	if err != nil || kind != websocket.MessageText {
		p.t.Fatalf("%s message, %v", kind, err)
	}
	return heard{Text: string(text)}
}

func (p goPeer) leave() heard {
	p.t.Helper()
	if err := p.c.Close(websocket.StatusNormalClosure, ""); err != nil {
		p.t.Fatal(err)
	}
	return heard{Closed: int(websocket.StatusNormalClosure)} // or Close had failed
}

// A process is a peer of another language: lines of JSON go in and come out.
type process struct {
	t      *testing.T
	name   string
	input  io.WriteCloser
	events chan heard
}

func startPython(t *testing.T, url string) peer {
	python, _ := FindPython()
	return startProcess(t, make(chan heard, 1024), python, "peer.py", url)
}

func startNode(t *testing.T, url string) peer {
	return startProcess(t, make(chan heard, 1024), "node", "peer.mjs", url)
}

// startProcess starts a program whose output comes as events, until it ends.
func startProcess(t *testing.T, events chan heard, name string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = clientsDir
	input, output := startPiped(t, cmd)
	p := &process{t: t, name: name, input: input, events: events}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.read(output)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for range events { // until it is closed
		}
		<-ended
	})
	return p
}

// startPiped starts a program with pipes to its input and from its output.
func startPiped(t *testing.T, cmd *exec.Cmd) (input io.WriteCloser, output io.Reader) {
	t.Helper()
	cmd.Env, cmd.Stderr = append(os.Environ(), "no_proxy=*"), os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if output, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return input, output
}

// read passes on what the process prints, until it ends.
func (p *process) read(output io.Reader) {
	defer close(p.events)
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var event heard
		if err := json.Unmarshal(line, &event); err != nil {
			event.Text = fmt.Sprintf("not JSON: %s", line)
		}
		p.events <- event
	}
}

func (p *process) say(text string) {
	p.t.Helper()
	line, err := json.Marshal(text)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.input.Write(append(line, '\n')); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

func (p *process) hear() heard {
	p.t.Helper()
	return hearEvent(p.t, p.name, p.events)
}

// hearEvent returns what a client in another process tells next.
func hearEvent(t *testing.T, name string, events chan heard) heard {
	t.Helper()
	select {
	case event, ok := <-events:
		if !ok {
			t.Fatalf("%s has ended", name)
		}
		return event
	case <-time.After(20 * time.Second):
		t.Fatalf("%s hears nothing", name)
		return heard{}
	}
}

func (p *process) leave() heard {
	p.t.Helper()
	if err := p.input.Close(); err != nil {
		p.t.Fatal(err)
	}
	return p.hear()
}

func absentNode() string {
	if _, err := exec.LookPath("node"); err != nil {
		return "no node here"
	}
	if _, err := os.Stat(filepath.Join(clientsDir, "node_modules", "ws")); err != nil {
		return "Node's ws is not installed: make clients"
	}
	return ""
}
