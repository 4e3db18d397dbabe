package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Chromium is driven by its DevTools protocol: commands and events in JSON over a
// WebSocket for each page.

func absentChromium() string {
	if _, err := exec.LookPath("chromium"); err != nil {
		return "no chromium here (Debian: chromium)"
	}
	return ""
}

// A browser is the Chromium that all tests share. It ends with the process of the tests.
var browser struct {
	once  sync.Once
	tools string // host:port of DevTools
	err   error
}

// endBrowser ends it. Main calls it.
var endBrowser = func() {}

// startBrowser starts the browser if it does not run.
func startBrowser(t testing.TB) (tools string) {
	t.Helper()
	browser.once.Do(func() { browser.tools, browser.err = launchBrowser() })
	if browser.err != nil {
		t.Fatal(browser.err)
	}
	return browser.tools
}

func launchBrowser() (tools string, err error) {
	pin, err := certificatePin(secure[1])
	if err != nil {
		return "", err
	}
	profile, err := os.MkdirTemp("", "lectern-chromium-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server",
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-extensions", "--disable-component-update", "--disable-background-networking",
		"--remote-debugging-port=0", "--user-data-dir="+profile, "--ignore-certificate-errors-spki-list="+pin, "about:blank")
	output, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	endBrowser = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(profile)
	}
	listens := make(chan string, 1)
	go func() {
		defer close(listens)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if _, url, ok := strings.Cut(lines.Text(), "DevTools listening on ws://"); ok {
				host, _, _ := strings.Cut(url, "/")
				listens <- host
			}
		}
	}()
	select {
	case host, ok := <-listens:
		if !ok {
			return "", errors.New("chromium ended at once")
		}
		return host, nil
	case <-time.After(40 * time.Second):
		return "", errors.New("chromium does not start")
	}
}

// certificatePin returns what Chromium knows a certificate by: the hash of its key.
func certificatePin(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(hash[:]), nil
}

// A tab is a page of the browser, in which a client runs.
type tab struct {
	t      *testing.T
	tools  *websocket.Conn
	events chan heard // what the client tells

	mu      sync.Mutex
	last    int                          // guarded by mu; number of the last command
	answers map[int]chan json.RawMessage // guarded by mu; of commands under way
}

// openTab opens a page of the relay's own origin, as browsers send no other by
// themselves, and has it know the clients.
func openTab(t *testing.T, url string, events chan heard) *tab {
	t.Helper()
	tools := startBrowser(t)
	request, err := http.NewRequest(http.MethodPut, "http://"+tools+"/json/new?about:blank", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	var target struct {
		ID string
		At string `json:"webSocketDebuggerUrl"`
	}
	if err := json.Unmarshal([]byte(bodyOf(t, response)), &target); err != nil {
		t.Fatal(err)
	}
	p := &tab{t: t, events: events, answers: make(map[int]chan json.RawMessage)}
	if p.tools, _, err = websocket.Dial(t.Context(), target.At, nil); err != nil {
		t.Fatal(err)
	}
	p.tools.SetReadLimit(64 << 20)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.read()
	}()
	t.Cleanup(func() {
		if response, err := http.Get("http://" + tools + "/json/close/" + target.ID); err == nil {
			_ = response.Body.Close()
		}
		_ = p.tools.CloseNow()
		for range events { // until it is closed
		}
		<-ended
	})
	script, err := os.ReadFile(filepath.Join(clientsDir, "browser.js"))
	if err != nil {
		t.Fatal(err)
	}
	p.command("Runtime.enable", nil)
	p.command("Runtime.addBinding", map[string]any{"name": "lecternTell"})
	page := "http" + strings.TrimPrefix(url[:strings.LastIndex(url, "/v1/")+1], "ws") + "health/live"
	eventually(t, "the page is loaded", func() bool { // some connections of the tests are cut
		p.command("Page.navigate", map[string]any{"url": page})
		time.Sleep(50 * time.Millisecond)
		return strings.Contains(string(p.command("Runtime.evaluate", map[string]any{"expression": "location.href"})), page)
	})
	p.evaluate(string(script))
	return p
}

// read takes what DevTools say, until the connection ends.
func (p *tab) read() {
	defer close(p.events)
	for {
		_, text, err := p.tools.Read(context.Background())
		if err != nil {
			return
		}
		var said struct {
			ID     int
			Result json.RawMessage
			Method string
			Params struct{ Payload string }
		}
		if json.Unmarshal(text, &said) != nil {
			continue
		}
		if said.Method == "Runtime.bindingCalled" {
			var event heard
			if err := json.Unmarshal([]byte(said.Params.Payload), &event); err != nil {
				event.Text = "not JSON: " + said.Params.Payload
			}
			p.events <- event
		}
		p.mu.Lock()
		answer := p.answers[said.ID]
		delete(p.answers, said.ID)
		p.mu.Unlock()
		if answer != nil {
			answer <- said.Result
		}
	}
}

// command has DevTools do something.
func (p *tab) command(method string, params any) (result json.RawMessage) {
	p.t.Helper()
	answer := make(chan json.RawMessage, 1)
	p.mu.Lock()
	p.last++
	id := p.last
	p.answers[id] = answer
	p.mu.Unlock()
	text, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.tools.Write(ctx, websocket.MessageText, text); err != nil {
		p.t.Fatal(err)
	}
	select {
	case result = <-answer:
		return result
	case <-ctx.Done():
		p.t.Fatalf("chromium does not answer %s", method)
		return nil
	}
}

// evaluate runs a script in the page.
func (p *tab) evaluate(script string) {
	p.t.Helper()
	result := p.command("Runtime.evaluate", map[string]any{"expression": script})
	if strings.Contains(string(result), "exceptionDetails") {
		p.t.Fatalf("chromium: %s", result)
	}
}

// quoted returns text as a literal of JavaScript.
func quoted(text string) string {
	b, _ := json.Marshal(text) // a string always can be
	return string(b)
}

// aside returns a URL's other path: a page's origin is found before it.
func aside(url string) string {
	if strings.Contains(url, "/v1/") {
		return url
	}
	return url + "v1/websocket"
}

func startChromium(t *testing.T, url string) peer {
	p := openTab(t, aside(url), make(chan heard, 1024))
	p.evaluate("var me = peer(" + quoted(aside(url)) + ")")
	return p
}

func watchChromium(t *testing.T, url, code string, numbered bool, to chan heard) {
	p := openTab(t, url, to)
	p.evaluate(fmt.Sprintf("viewer(%s, %s, %t)", quoted(url), quoted(code), numbered))
}

func (p *tab) say(text string) {
	p.t.Helper()
	p.evaluate("me.say(" + quoted(text) + "); undefined")
}

func (p *tab) leave() heard {
	p.t.Helper()
	p.evaluate("me.leave()")
	return p.hear()
}

func (p *tab) hear() heard {
	p.t.Helper()
	return hearEvent(p.t, "chromium", p.events)
}
