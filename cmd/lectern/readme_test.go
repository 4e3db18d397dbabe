package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The code that the README shows; the real one is random.
const shownCode = "K7QM-2XHD"

// A shown block is a fenced one of the README: what one terminal shows.
type shown struct {
	terminal string
	lines    []string
}

// tryOut returns the blocks of the README's first lecture. Their fences are marked
// "console" and with the terminal's name.
func tryOut(t *testing.T) (blocks []shown) {
	t.Helper()
	_, section, ok := strings.Cut(page(t, "README.md"), "\n## Your first lecture")
	if !ok {
		t.Fatal("the README has no first lecture")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for part := range strings.SplitSeq(section, "\n```console ") {
		head, rest, ok := strings.Cut(part, "\n")
		if body, _, fenced := strings.Cut(rest, "\n```"); ok && fenced {
			blocks = append(blocks, shown{head, strings.Split(body, "\n")})
		}
	}
	return blocks
}

// page returns a page at the module's root.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReadmeTryOut does what the README says, in as many terminals, and sees
// what it shows. Only the relay's port and the code are others.
func TestReadmeTryOut(t *testing.T) {
	python, absent := findPython()
	if absent != "" {
		missing(t, absent)
	}
	t.Parallel()
	python, err := exec.LookPath(python)
	if err != nil {
		t.Fatal(err)
	}
	path := "PATH=" + filepath.Dir(python) + ":" + os.Getenv("PATH")

	blocks := tryOut(t)
	if len(blocks) < 6 || blocks[0].terminal != "relay" || len(blocks[0].lines) != 1 {
		t.Fatalf("the first lecture has changed its form: %q", blocks)
	}
	command, ok := strings.CutPrefix(blocks[0].lines[0], "$ make ")
	if !ok {
		t.Fatalf("the relay is started with %q", blocks[0].lines)
	}
	port := runRelay(t, command)

	terminals := make(map[string]*terminal)
	code := ""
	for _, block := range blocks[1:] {
		for _, line := range block.lines {
			if code != "" {
				line = strings.ReplaceAll(line, shownCode, code)
			}
			line = strings.ReplaceAll(line, "localhost:8765", "localhost:"+port)
			at := terminals[block.terminal]
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				terminals[block.terminal] = openTerminal(t, command, path)
			} else if at == nil {
				t.Fatalf("terminal %s shows %q before a command", block.terminal, line)
			} else if typed, ok := strings.CutPrefix(line, "> "); ok {
				at.write(typed)
			} else if found := at.expect(line); code == "" {
				code = found
			}
		}
	}
	if len(terminals) != 2 || code == "" {
		t.Errorf("%d terminals and the code %q", len(terminals), code)
	}
}

// runRelay has make start the relay, on a free port, which it returns.
func runRelay(t *testing.T, target string) (port string) {
	t.Helper()
	cmd := makeCommand(target, "BIN="+filepath.Join(t.TempDir(), "lectern"), "ARGS=--addr 127.0.0.1:0 --admin-addr 127.0.0.1:0")
	started := regexp.MustCompile(`relay listens.* addr=127\.0\.0\.1:([0-9]+)`)
	relay := startTerminal(t, cmd, &cmd.Stderr)
	for {
		line := relay.read()
		if found := started.FindStringSubmatch(line); found != nil {
			return found[1]
		}
	}
}

// A terminal runs one command.
type terminal struct {
	t     *testing.T
	input io.Writer
	lines chan string
}

// openTerminal starts a command line with the given PATH.
func openTerminal(t *testing.T, command, path string) *terminal {
	t.Helper()
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), path, "no_proxy=*")
	return startTerminal(t, cmd, &cmd.Stdout)
}

// startTerminal starts cmd and reads the output that it is told of. All that
// the command has started ends with the test.
func startTerminal(t *testing.T, cmd *exec.Cmd, output *io.Writer) *terminal {
	t.Helper()
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	*output = to
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = to.Close()
	term := &terminal{t: t, input: input, lines: make(chan string, 1024)}
	go term.collect(from)
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return term
}

// escapes are the sequences that move a terminal's cursor.
var escapes = regexp.MustCompile("\x1b([78]|\\[[0-9]*[A-Z])")

// collect passes on the lines as a terminal would show them: without escape
// sequences, prompts and what was written over.
func (t *terminal) collect(output io.ReadCloser) {
	defer output.Close()
	defer close(t.lines)
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		line := escapes.ReplaceAllString(lines.Text(), "")
		line = line[strings.LastIndex(line, "\r")+1:]
		for strings.HasPrefix(line, "> ") {
			line = line[2:]
		}
		if line != "" {
			t.lines <- line
		}
	}
}

func (t *terminal) write(line string) {
	t.t.Helper()
	if _, err := io.WriteString(t.input, line+"\n"); err != nil {
		t.t.Fatal(err)
	}
}

func (t *terminal) read() string {
	t.t.Helper()
	select {
	case line, ok := <-t.lines:
		if !ok {
			t.t.Fatal("the command has ended")
		}
		return line
	case <-time.After(time.Minute): // make may have to compile
		t.t.Fatal("the terminal shows nothing")
		return ""
	}
}

// expect wants the next line to be as shown, with any code for the shown one,
// and returns that code if the line has one.
func (t *terminal) expect(want string) (code string) {
	t.t.Helper()
	pattern := strings.Replace(regexp.QuoteMeta(want), regexp.QuoteMeta(shownCode), "([0-9A-Z]{4}-[0-9A-Z]{4})", 1)
	pattern = strings.ReplaceAll(pattern, `"\.\.\."`, `"[0-9a-f]+"`) // a token, or an epoch
	line := t.read()
	found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(line)
	if found == nil {
		t.t.Fatalf("the terminal shows %q, the README %q", line, want)
	}
	if len(found) == 1 {
		return ""
	}
	return found[1]
}
