package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTheContainerfilesSteps: whatever builds it copies one file for each architecture,
// and runs it as nobody.
func TestTheContainerfilesSteps(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(dist(t), "Containerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"FROM scratch", "USER 65534:65534", `ENTRYPOINT ["/lectern"]`, "STOPSIGNAL SIGTERM"} {
		if !strings.Contains(string(text), "\n"+step+"\n") {
			t.Errorf("the Containerfile lacks %s", step)
		}
	}
	copied := regexp.MustCompile(`(?m)^COPY (\S+) /lectern$`).FindStringSubmatch(string(text))
	if copied == nil {
		t.Fatal("the Containerfile copies nothing")
	}
	for _, arch := range architectures {
		pattern := strings.ReplaceAll(copied[1], "${TARGETARCH}", arch)
		if found, err := filepath.Glob(filepath.Join(dist(t), pattern)); err != nil || len(found) != 1 {
			t.Errorf("%s stands for %q, %v", pattern, found, err)
		}
	}
}

// TestTheContainer builds the container and runs it, if buildah is here and may.
func TestTheContainer(t *testing.T) {
	if os.Getuid() != 0 || !isHere(t, "buildah") {
		t.Log("not built: its steps are checked")
		return
	}
	store := t.TempDir()
	buildah := func(args ...string) *exec.Cmd {
		return exec.Command("buildah", append([]string{"--root", store + "/root", "--runroot", store + "/run", "--storage-driver", "vfs"}, args...)...)
	}
	said := func(args ...string) string {
		t.Helper()
		out, err := buildah(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("buildah %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	said("bud", "--isolation", "chroot", "-t", "lectern", dist(t))
	container := said("from", "--pull-never", "localhost/lectern")
	defer said("rm", container)
	if got := said("run", "--isolation", "chroot", container, "--", "/lectern", "version"); !strings.HasPrefix(got, "lectern v1.2.3") {
		t.Errorf("the container says %s", got)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	relay := buildah("run", "--isolation", "chroot", container, "--", "/lectern", "serve", "--addr", addr, "--admin-addr", "")
	if err := relay.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	defer func() {
		if pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = relay.Wait()
	}()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if response, err := http.Get("http://" + addr + "/health/live"); err == nil {
			response.Body.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("the container does not serve")
		}
	}
	pid = processWith("/lectern", addr)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil || !strings.Contains(string(status), "\nUid:\t65534\t65534\t") {
		t.Errorf("process %d: %v, %s", pid, err, regexp.MustCompile(`Uid:.*`).FindString(string(status)))
	}
}

// processWith returns the process of a program with an argument, 0 if there is none.
func processWith(program, arg string) (pid int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err == nil && strings.HasPrefix(string(line), program+"\x00") && strings.Contains(string(line), "\x00"+arg+"\x00") {
			_, _ = fmt.Sscanf(path, "/proc/%d/", &pid)
		}
	}
	return pid
}
