package e2e

import (
	"bufio"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestShownClients runs the host and the viewer that the page for writers of
// clients shows. Only the relay's port and the code are others.
func TestShownClients(t *testing.T) {
	python, absent := FindPython()
	if absent != "" {
		Missing(t, absent)
	}
	if absent := absentNode(); absent != "" {
		Missing(t, absent)
	}
	t.Parallel()
	b := startBinary(t, "--host-grace=0")
	host := startExample(t, exec.Command(python, "-c", strings.ReplaceAll(example(t, "python host"), "localhost:8765", b.addr)))
	code, ok := strings.CutPrefix(host.line(t), "The code is ")
	if !ok {
		t.Fatal("the host shows no code")
	}
	viewer := startShownViewer(t, b, code)
	host.shows(t, "viewers: 1")
	if _, err := io.WriteString(host.input, "/rep cartoon protein\n"); err != nil {
		t.Fatal(err)
	}
	viewer.shows(t, "/rep cartoon protein")

	// The room's end is final: the viewer does not connect again, and so ends.
	if err := host.input.Close(); err != nil {
		t.Fatal(err)
	}
	viewer.shows(t, "closed: host_closed")
	if line, more := <-viewer.lines; more {
		t.Errorf("the viewer goes on with %q", line)
	}
}

// TestShownViewerComesBack restarts the relay: the viewer goes on where it was.
func TestShownViewerComesBack(t *testing.T) {
	if absent := absentNode(); absent != "" {
		Missing(t, absent)
	}
	t.Parallel()
	data := t.TempDir()
	b := startBinary(t, "--data="+data)
	host, code := openRoom(t, b)
	viewer := startShownViewer(t, b, code)
	eventually(t, "the viewer is in", func() bool { return b.metric("lectern_viewers") == 1 })
	say(t, host, `{"type":"command","data":"one"}`)
	viewer.shows(t, "one")

	_ = host.CloseNow() // or the drain waits for it
	b.signal(syscall.SIGTERM)
	b.wait(20 * time.Second)
	viewer.shows(t, "closed: shutdown")
	again := startBinary(t, "--data="+data, "--addr="+b.addr)
	eventually(t, "the viewer is back", func() bool { return again.metric(`lectern_resumes_total{recovered="true"}`) == 1 })
}

// An exampleProgram is one that a page shows, as it runs.
type exampleProgram struct {
	input io.WriteCloser
	lines chan string // of its output; closed at its end
}

func startShownViewer(t *testing.T, b *binary, code string) *exampleProgram {
	t.Helper()
	// A browser has WebSocket; older versions of Node have not.
	text := `import WebSocket from "ws";` + example(t, "js viewer")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "localhost:8765", b.addr), "K7QM-2XHD", code)
	cmd := exec.Command("node", "--input-type=module", "-e", text)
	cmd.Dir = clientsDir
	return startExample(t, cmd)
}

// startExample starts a program, which ends with the test at the latest.
func startExample(t *testing.T, cmd *exec.Cmd) *exampleProgram {
	t.Helper()
	input, output := startPiped(t, cmd)
	p := &exampleProgram{input, make(chan string, 1024)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(p.lines)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
	})
	return p
}

// line returns the next line of the output.
func (p *exampleProgram) line(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			t.Fatal("the program has ended")
		}
		return line
	case <-time.After(20 * time.Second):
		t.Fatal("the program shows nothing")
		return ""
	}
}

func (p *exampleProgram) shows(t *testing.T, want string) {
	t.Helper()
	if line := p.line(t); line != want {
		t.Fatalf("the program shows %q, want %q", line, want)
	}
}

// example returns the block of docs/clients.md whose fence is marked so.
func example(t *testing.T, mark string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)\n```" + mark + "\n(.*?)\n```").FindStringSubmatch(page(t, "docs/clients.md"))
	if found == nil {
		t.Fatalf("docs/clients.md has no %s", mark)
	}
	return found[1]
}
