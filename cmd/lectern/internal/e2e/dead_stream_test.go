package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestDeadPeerOfAnEventStream takes the network away from a client that reads an event
// stream. It answers no pings over a WebSocket, so that it is the kernel that gives it up:
// after --user-timeout from the first byte that is not acknowledged.
func TestDeadPeerOfAnEventStream(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 || absentCurl() != "" {
		t.Skip("network namespaces need root, and this test needs curl")
	}
	name := fmt.Sprintf("lectern%d", os.Getpid())
	run := func(args ...string) error { return exec.Command("ip", args...).Run() }
	if run("netns", "add", name) != nil {
		t.Skip("no network namespaces here")
	}
	near, far := "lt"+name[7:]+"a", "lt"+name[7:]+"b"
	t.Cleanup(func() { _ = run("netns", "del", name); _ = run("link", "del", near) })
	network := fmt.Sprintf("10.213.%d.", os.Getpid()%250)
	for _, args := range []string{
		"link add " + near + " type veth peer name " + far + " netns " + name,
		"addr add " + network + "1/24 dev " + near,
		"link set " + near + " up",
		"-n " + name + " addr add " + network + "2/24 dev " + far,
		"-n " + name + " link set " + far + " up",
	} {
		if err := run(strings.Fields(args)...); err != nil {
			t.Skipf("ip %s: %v", args, err)
		}
	}
	b := startBinary(t, "--addr", network+"1:0", "--user-timeout", "2s")
	host, code := openRoom(t, b)
	reads(t, host)
	client := exec.Command("ip", "netns", "exec", name, "curl", "--silent", "--no-buffer", "--noproxy", "*", b.streamURL(b.addr, code))
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Process.Kill(); _ = client.Wait() })
	eventually(t, "the viewer is there", func() bool { return b.metric("lectern_event_streams") == 1 && b.metric("lectern_viewers") == 1 })

	if err := run("-n", name, "link", "set", far, "down"); err != nil {
		t.Fatal(err)
	}
	say(t, host, `{"type":"command","data":"is anybody there?"}`)
	cut := time.Now()
	eventually(t, "the viewer has left", func() bool { return b.metric("lectern_viewers") == 0 })
	if took := time.Since(cut); took < time.Second {
		t.Errorf("it left after %s, so not for the reason that is tested", took)
	}
	if n := b.metric(`lectern_closes_total{reason="lost"}`); n != 1 {
		t.Errorf("%v connections were lost", n)
	}
}
