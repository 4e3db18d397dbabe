package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A streamKind is a client that reads event streams. It comes back by itself after a
// cut, and says what it had last.
type streamKind struct {
	name   string
	absent func() string // why it cannot be used here, or empty
	watch  func(t *testing.T, url string, to chan heard)
}

// streamKinds are the clients. None of them is the relay's own.
var streamKinds = []streamKind{
	{"curl", absentCurl, streamToCurl},
	{"python", func() string { _, why := FindPython(); return why }, streamToPython},
	{"node", absentEventSource, streamToNode},
	{"chromium", absentChromium, streamToChromium},
}

func absentCurl() string {
	if findProgram("curl") == "" {
		return "no curl here"
	}
	return ""
}

func absentEventSource() string {
	if why := absentNode(); why != "" {
		return why
	}
	if found, _ := filepath.Glob(filepath.Join(clientsDir, "node_modules", "eventsource", "package.json")); found == nil {
		return "Node's eventsource is not installed: make clients"
	}
	return ""
}

// streamURL is the URL of a room's event stream at an address that leads to the relay.
func (b *binary) streamURL(addr, code string) string {
	return "http" + strings.TrimPrefix(b.urlAt(addr, "/v1/rooms/"+code+"/events"), "ws")
}

func streamToPython(t *testing.T, url string, to chan heard) {
	python, _ := FindPython()
	startProcess(t, to, python, "stream.py", url)
}

func streamToNode(t *testing.T, url string, to chan heard) {
	startProcess(t, to, "node", "stream.mjs", url)
}

func streamToChromium(t *testing.T, url string, to chan heard) {
	p := openTab(t, "ws"+strings.TrimPrefix(url, "http"), to)
	p.evaluate("streamViewer(" + quoted(url) + ")")
}

// streamToCurl starts curl again and again, with the id of the last event.
func streamToCurl(t *testing.T, url string, to chan heard) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		reader := &curlReader{to: func(h heard) {
			select {
			case to <- h:
			case <-ctx.Done():
			}
		}}
		for ctx.Err() == nil && !reader.ended {
			args := []string{"--silent", "--no-buffer", "--insecure", "--noproxy", "*", url}
			if reader.last != "" {
				args = append(args, "--header", "Last-Event-ID: "+reader.last)
			}
			cmd := exec.CommandContext(ctx, "curl", args...)
			output, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
			reader.read(output)
			_ = cmd.Wait()
			time.Sleep(100 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
}

// A curlReader reads the events that curl prints.
type curlReader struct {
	to             func(heard)
	last, id, data string
	ended          bool
}

func (r *curlReader) read(output io.Reader) {
	r.id, r.data = r.last, ""
	for lines := bufio.NewReader(output); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return // an event without its end does not count
		}
		line = strings.TrimSuffix(line, "\n")
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			r.id = id
		} else if data, ok := strings.CutPrefix(line, "data: "); ok {
			r.data = data
		} else if line == "" && r.data != "" {
			r.last = r.id
			r.to(heard{Text: r.data})
			var end struct{ Type, Reason string }
			if json.Unmarshal([]byte(r.data), &end) == nil && end.Type == "closed" {
				r.ended = true
				r.to(heard{Closed: 4000, Reason: end.Reason})
			}
			r.data = ""
		}
	}
}

// startSquid starts Squid as a proxy that clients name, and returns its URL.
func startSquid(t *testing.T) *url.URL {
	t.Helper()
	program := findProgram("squid")
	if program == "" {
		Missing(t, "no squid here (Debian: squid)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := l.Addr().String(), socketDir(t)
	l.Close()
	if err := os.Chmod(dir, 0o777); err != nil { // Squid gives up root's rights
		t.Fatal(err)
	}
	config := filepath.Join(dir, "squid.conf")
	text := fmt.Sprintf("http_port %s\nhttp_access allow all\npid_filename %s/pid\naccess_log none\ncache_log %s/log\nshutdown_lifetime 0 seconds\n", addr, dir, dir)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	squid := exec.Command(program, "-N", "-f", config)
	if err := squid.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = squid.Process.Kill(); _ = squid.Wait() })
	eventually(t, "squid listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return &url.URL{Scheme: "http", Host: addr}
}
