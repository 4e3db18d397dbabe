package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openPty returns the two ends of a pseudo-terminal.
func openPty(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	return screen, tty
}

// TestATerminalGetsAHint after the line that the relay listens.
func TestATerminalGetsAHint(t *testing.T) {
	t.Parallel()
	screen, tty := openPty(t)
	cmd := exec.Command(binaryPath, "serve", "--addr", "127.0.0.1:0", "--admin-addr", "")
	cmd.Stderr = tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	stuck := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill(); _ = tty.Close() })
	defer stuck.Stop()
	lines := bufio.NewScanner(screen)
	var shown []string
	for lines.Scan() {
		shown = append(shown, lines.Text())
		if strings.Contains(lines.Text(), "Ctrl-C") {
			break
		}
	}
	all := strings.Join(shown, "\n")
	if !regexp.MustCompile(`(?s)relay listens.* addr=(127\.0\.0\.1:\d+).*The relay is at ws://127\.0\.0\.1:\d+\. .*python3 -m websockets ws://127\.0\.0\.1:\d+ `).MatchString(all) {
		t.Errorf("the terminal shows\n%s", all)
	}
}
