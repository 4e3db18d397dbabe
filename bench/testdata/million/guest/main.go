// Guest is the first program of the emulated machine of `make million`. It sets the
// machine's limits, has `lectern bench` load a relay, and turns the machine off.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	began := time.Now()
	err := measure()
	fmt.Printf("=== the machine ran for %s\n", time.Since(began).Round(time.Second))
	if err != nil {
		fmt.Println("=== failed:", err)
	} else {
		fmt.Println("=== all is well")
	}
	time.Sleep(time.Second) // the console is slow
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// secondsPerViewer is twice what a broadcast takes for each viewer in an emulated
// machine.
const secondsPerViewer = 250e-6

// server is the relay, with time limits for an emulated machine, where the bench may
// take a minute to answer a ping.
const server = "/lectern serve --addr {addr} --handshake-timeout 5m --idle-timeout 30m --stall-timeout 30m" +
	" --max-connections-per-address 5000000 --max-rooms-per-address 10000"

func measure() error {
	if err := prepare(); err != nil {
		return err
	}
	viewers, err := asked("viewers")
	if err != nil {
		return err
	}
	if _, err := asked("ktls"); err == nil {
		return compareTLS(viewers)
	}
	every := max(0.1, float64(viewers)*secondsPerViewer) // seconds between two broadcasts
	patience := fmt.Sprintf("%.0fs", 60+20*every)
	common := []string{"--serve", "--server-command", server, "--window", "200", "--viewers", strconv.Itoa(viewers), "--timeout", patience, "--drain", patience, "--warmup=-1s",
		"--rate", fmt.Sprintf("%.4f", 1/every), "--duration"}
	var errs []error
	for _, run := range []struct {
		what string
		args []string
	}{
		{"memory, and the processor time of viewers who are silent for two minutes", append([]string{"idle"}, append(common, "120s")...)},
		{"five broadcasts to everybody", append([]string{"fanout"}, append(common, fmt.Sprintf("%.1fs", 5*every))...)},
		{"half of them are cut off at once and come back", append([]string{"resume", "--share", "0.5", "--waves", "1"}, append(common, fmt.Sprintf("%.1fs", 6*every))...)},
	} {
		errs = append(errs, show(run.what, "/lectern", append([]string{"bench"}, run.args...)...))
	}
	return errors.Join(errs...)
}

// show runs a program, and prints what it is for.
func show(what, program string, args ...string) error {
	fmt.Printf("=== %s\n    %s %s\n", what, filepath.Base(program), strings.Join(args, " "))
	cmd := exec.Command(program, args...)
	console := struct{ io.Writer }{os.Stdout} // no terminal, on which progress would be drawn
	cmd.Stdout, cmd.Stderr = console, console
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(program), args[0], err)
	}
	return nil
}

// asked returns a number of the kernel's command line.
func asked(name string) (int, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return 0, err
	}
	for _, word := range strings.Fields(string(line)) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, fmt.Errorf("the kernel was not told %s", name)
}

// prepare mounts what the programs look at, brings the loopback interface up and
// raises the limits.
func prepare() error {
	for target, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs", "/tmp": "tmpfs"} {
		if err := unix.Mount(kind, target, kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	const many = 4_200_000
	for name, value := range map[string]string{
		"fs/nr_open":                   strconv.Itoa(many),
		"fs/file-max":                  strconv.Itoa(3 * many),
		"fs/epoll/max_user_watches":    strconv.Itoa(3 * many),
		"net/core/somaxconn":           "65535",
		"net/core/netdev_max_backlog":  "100000",
		"net/ipv4/tcp_max_syn_backlog": "65535",
		"net/ipv4/tcp_max_tw_buckets":  strconv.Itoa(many),
		"net/ipv4/tcp_max_orphans":     strconv.Itoa(many),
		"net/ipv4/ip_local_port_range": "10000 64999",
		"net/ipv4/tcp_mem":             "10000000 10000000 10000000", // pages
		"vm/overcommit_memory":         "1",
	} {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			return err
		}
	}
	return os.NewSyscallError("setrlimit", syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: many, Max: many}))
}

// loopbackUp has the kernel bring lo up, with its address.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
