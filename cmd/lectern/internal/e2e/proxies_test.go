package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// proxies are those of docs/proxies.md. run starts one with the page's example, at an
// address of the loopback interface and in front of a socket.
var proxies = []struct {
	name string // also the language of the example
	run  func(program, dir, example string) *exec.Cmd
}{
	{"nginx", runNginx},
	{"caddyfile", runCaddy},
}

// programs of the proxies, by the language of their configuration.
var programs = map[string]string{"nginx": "nginx", "caddyfile": "caddy"}

// proxyExample returns the page's example for a proxy.
func proxyExample(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile("../../../../docs/proxies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```"+language+"\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatalf("docs/proxies.md has no example for %s", language)
	}
	return text
}

// replaced replaces a text that must be there once.
func replaced(t *testing.T, text, old, new string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("the example has %q %d times:\n%s", old, strings.Count(text, old), text)
	}
	return strings.Replace(text, old, new, 1)
}

func runNginx(program, dir, example string) *exec.Cmd {
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	config := filepath.Join(dir, "nginx.conf")
	text := "daemon off;\npid " + dir + "/nginx.pid;\nerror_log stderr;\nuser root;\nworker_processes 1;\nevents { worker_connections 1000; }\n" +
		"http {\naccess_log off;\n" + temporary + example + "}\n"
	_ = os.WriteFile(config, []byte(text), 0o600)
	return exec.Command(program, "-e", "stderr", "-p", dir, "-c", config)
}

func runCaddy(program, dir, example string) *exec.Cmd {
	config := filepath.Join(dir, "Caddyfile")
	_ = os.WriteFile(config, []byte("{\nadmin off\nauto_https off\n}\n"+example), 0o600)
	command := exec.Command(program, "run", "--adapter", "caddyfile", "--config", config)
	command.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	return command
}

// findProgram returns the path of a program, also where only root looks for it.
func findProgram(name string) string {
	for _, candidate := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	return ""
}

// startProxy starts a proxy in front of a socket, and returns its address.
func startProxy(t *testing.T, program, language, socket string, run func(program, dir, example string) *exec.Cmd) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	text := replaced(t, proxyExample(t, language), "/run/lectern/lectern.sock", socket)
	if language == "nginx" {
		text = replaced(t, text, "listen 80;", "listen "+addr+";")
	} else {
		text = replaced(t, text, "relay.school.example {", "http://"+addr+" {\nbind 127.0.0.1")
	}
	proxy := run(program, socketDir(t), text)
	var log strings.Builder
	proxy.Stdout, proxy.Stderr = &log, &log
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = proxy.Process.Signal(os.Interrupt)
		ended := time.AfterFunc(10*time.Second, func() { _ = proxy.Process.Kill() })
		_ = proxy.Wait()
		ended.Stop()
		if t.Failed() {
			t.Logf("log of the proxy:\n%.5000s", log.String())
		}
	})
	eventually(t, "the proxy passes requests on", func() bool {
		response, err := http.Get("http://" + addr + "/health/ready")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return addr
}

// places is how many connections one address may have. Connections that were torn off take
// some until the relay finds out.
const places = 60

// TestLecturesBehindProxies: viewers behind each proxy miss nothing when they are cut off,
// and count for their own addresses.
func TestLecturesBehindProxies(t *testing.T) {
	t.Parallel()
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			program := findProgram(programs[p.name])
			if program == "" {
				Missing(t, "no "+programs[p.name]+" here (Debian: nginx-light, caddy)")
			}
			socket := filepath.Join(socketDir(t), "relay.sock")
			b := startBinary(t, "--addr", "unix:"+socket, "--trusted-proxy", "unix", "--max-connections-per-address", strconv.Itoa(places),
				"--retain", "33554432", "--retain-messages", "100000", "--close-timeout", "1s", "--ping-after", "1s", "--idle-timeout", "4s")
			b.addr = startProxy(t, program, p.name, socket, p.run)

			host, code := openRoom(t, b)
			listening(t, host)
			var calm atomic.Bool
			var class []*absentee
			for i := range 2 {
				a := &absentee{name: fmt.Sprintf("viewer %d", i), numbered: i == 1, events: make(chan heard, 1024)}
				a.cable = newCable(t, b.addr, func(nth int) int { return fraysAfter(nth, &calm) })
				watchGo(t, "ws://"+a.cable.addr()+"/v1/websocket", code, a.numbered, a.events)
				class = append(class, a)
			}
			missAndHear(t, host, class, &calm)
			if t.Failed() {
				return
			}
			theirOwnAddresses(t, b, code)
			say(t, host, `{"type":"close"}`)
			for _, a := range class {
				a.hearsTheEnd(t)
			}
		})
	}
}

// theirOwnAddresses fills the places of one address behind a proxy. Another one still
// comes in, and nobody gets a place by saying that they are at another.
func theirOwnAddresses(t *testing.T, b *binary, code string) {
	t.Helper()
	full := func(from, says string) bool {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		header := http.Header{}
		if says != "" {
			header.Set("X-Forwarded-For", says)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		c, _, err := websocket.Dial(ctx, b.url("/"), &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}, HTTPHeader: header,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		say(t, c, `{"type":"join","code":"`+code+`"}`)
		return strings.Contains(hear(t, c), `"server_full"`)
	}
	for n := 0; !full("127.0.0.1", ""); n++ {
		if n > places {
			t.Fatal("an address behind the proxy has no limit")
		}
	}
	if full("127.0.0.2", "") {
		t.Error("clients at two addresses count as one")
	}
	if !full("127.0.0.1", "192.0.2.77") {
		t.Error("the proxy passes on what a client says about its own address")
	}
}

// TestNginxWaitsLongerThanTheRelay: it is the relay that finds out who is idle.
func TestNginxWaitsLongerThanTheRelay(t *testing.T) {
	for _, name := range []string{"proxy_read_timeout", "proxy_send_timeout"} {
		found := regexp.MustCompile(name + ` ([0-9]+s);`).FindStringSubmatch(proxyExample(t, "nginx"))
		if found == nil {
			t.Fatalf("the example lacks %s", name)
		}
		if limit, err := time.ParseDuration(found[1]); err != nil || limit <= time.Minute { // --idle-timeout
			t.Errorf("%s is %s", name, found[1])
		}
	}
}
