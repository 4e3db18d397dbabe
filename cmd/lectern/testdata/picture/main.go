// Command picture holds a short lecture on a real relay and draws it as an SVG:
// a terminal for the host and one for each of two viewers, whose lines appear in
// the order in which they came. `make picture` writes docs/lecture.svg with it.
//
// The room's code, tokens and epochs are random. It shows the same ones each time,
// so that the picture changes only if the relay does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/coder/websocket"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: picture BINARY > FILE")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, to io.Writer) error {
	relay := exec.CommandContext(ctx, binary, "serve", "--addr", "127.0.0.1:0", "--admin-addr", "", "--log-format", "json")
	log, err := relay.StderrPipe()
	if err != nil {
		return err
	}
	if err := relay.Start(); err != nil {
		return err
	}
	defer relay.Wait()
	defer relay.Process.Kill()
	first, err := bufio.NewReader(log).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the relay's log: %w", err)
	}
	var line struct{ Addr string }
	if err := json.Unmarshal(first, &line); err != nil {
		return fmt.Errorf("read the relay's log: %w", err)
	}
	l := &lecture{url: "ws://" + line.Addr}
	if err := l.hold(ctx); err != nil {
		return err
	}
	return draw(to, l.lines)
}

// The terminals of the picture.
const (
	host = iota
	ada
	ben
	terminals
)

// A shownLine is what one terminal shows from a step of the lecture on.
type shownLine struct {
	terminal int
	step     int
	sent     bool // by the one who sits there
	text     string
}

type lecture struct {
	url   string
	conns [terminals]*websocket.Conn
	code  string
	step  int
	lines []shownLine
}

// hold goes through the lecture. Each step is something that somebody sends, and
// what then arrives.
func (l *lecture) hold(ctx context.Context) error {
	for i := range l.conns {
		c, _, err := websocket.Dial(ctx, l.url, nil)
		if err != nil {
			return err
		}
		defer c.CloseNow()
		l.conns[i] = c
	}
	type step struct {
		who   int
		says  string
		heard []int // by whom, in this order
	}
	for _, s := range []step{
		{host, `{"type":"create","name":"Biology 7b"}`, []int{host}},
		{ada, `{"type":"join","code":"CODE","name":"Ada"}`, []int{ada, host}},
		{ben, `{"type":"join","code":"CODE","name":"Ben"}`, []int{ben, host}},
		{host, `{"type":"command","data":"/rep cartoon protein"}`, []int{ada, ben}},
		{ada, `{"type":"message","data":"Where is the active site?"}`, []int{host}},
		{host, `{"type":"activate","data":{"residue":57}}`, []int{ada, ben}},
		{host, `{"type":"close"}`, []int{host, ada, ben}},
	} {
		says := strings.Replace(s.says, "CODE", l.code, 1)
		if err := l.conns[s.who].Write(ctx, websocket.MessageText, []byte(says)); err != nil {
			return err
		}
		l.show(s.who, true, says)
		l.step++
		for _, who := range s.heard {
			_, text, err := l.conns[who].Read(ctx)
			if err != nil {
				return err
			}
			if found := codes.FindString(string(text)); l.code == "" {
				l.code = found
			}
			l.show(who, false, string(text))
		}
		l.step++
	}
	return nil
}

var (
	codes   = regexp.MustCompile(`[0-9A-Z]{4}-[0-9A-Z]{4}`)
	secrets = regexp.MustCompile(`"(token|epoch)":"[0-9a-f]+"`)
)

func (l *lecture) show(terminal int, sent bool, text string) {
	text = codes.ReplaceAllString(text, "K7QM-2XHD")
	text = secrets.ReplaceAllString(text, `"$1":"…"`)
	l.lines = append(l.lines, shownLine{terminal, l.step, sent, text})
}
