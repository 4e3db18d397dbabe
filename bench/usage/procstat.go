// Package usage tells what processes and the machine use: processor time and
// memory, at a moment or over time.
package usage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"lectern/bench/report"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of CPU times in /proc, in seconds: USER_HZ is 100 on
// every architecture that Go runs on.
const clockTick = 0.01

// A Process is a process's use of the machine at a moment.
type Process struct {
	cpu float64 // seconds since its start, user and system
	RSS int64   // resident bytes
}

// ErrNoProcess says that a process is not there, or may not be looked at.
var ErrNoProcess = errors.New("usage: process cannot be read")

// ReadProcess reads /proc/PID.
func ReadProcess(pid int) (Process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	cpu, err := parseStat(stat)
	if err != nil {
		return Process{}, fmt.Errorf("%w: /proc/%d/stat: %w", ErrNoProcess, pid, err)
	}
	return Process{cpu: cpu, RSS: readRSS(pid)}, nil
}

// parseStat returns the CPU seconds of a /proc/PID/stat. The name in it may
// hold anything, so the fields are counted from its last parenthesis.
func parseStat(stat []byte) (cpu float64, err error) {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, errors.New("no process name")
	}
	fields := strings.Fields(string(stat[i+1:]))
	const utime, stime = 11, 12 // counted from the state
	if len(fields) <= stime {
		return 0, errors.New("too few fields")
	}
	for _, f := range fields[utime : stime+1] {
		ticks, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return 0, err
		}
		cpu += float64(ticks) * clockTick
	}
	return cpu, nil
}

// readRSS returns the resident bytes of a process, exactly where the kernel
// tells, 0 if it tells nothing.
func readRSS(pid int) int64 {
	for _, file := range []struct{ name, key string }{{"smaps_rollup", "Rss:"}, {"status", "VmRSS:"}} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file.name))
		if err != nil {
			continue
		}
		if kb, ok := kilobytes(data, file.key); ok {
			return kb << 10
		}
	}
	return 0
}

// kilobytes finds the line that begins with key in a file of "key: n kB".
func kilobytes(data []byte, key string) (n int64, ok bool) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// ownCPU returns the seconds of CPU that the bench itself has used.
func ownCPU() float64 {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}

// A MachineState is the whole machine at a moment.
type MachineState struct {
	busy, all float64 // clock ticks of all processors since boot
	Slab      int64   // bytes of kernel objects, sockets among them
	Buffers   int64   // bytes of TCP's buffers
}

// ReadMachine reads /proc. What cannot be read is 0.
func ReadMachine() (m MachineState) {
	if data, err := os.ReadFile("/proc/stat"); err == nil {
		line, _, _ := strings.Cut(string(data), "\n")
		const idle, iowait, guest = 3, 4, 8 // guests' time is in user time too
		for i, f := range strings.Fields(line)[1:] {
			ticks, err := strconv.ParseFloat(f, 64)
			if err != nil || i >= guest {
				break
			}
			m.all += ticks
			if i != idle && i != iowait {
				m.busy += ticks
			}
		}
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		kb, _ := kilobytes(data, "Slab:")
		m.Slab = kb << 10
	}
	if data, err := os.ReadFile("/proc/net/sockstat"); err == nil {
		fields := strings.Fields(string(data))
		for i, f := range fields {
			if f == "TCP:" {
				for ; i+1 < len(fields) && fields[i] != "mem"; i++ {
				}
				pages, _ := strconv.ParseInt(fields[min(i+1, len(fields)-1)], 10, 64)
				m.Buffers = pages * int64(os.Getpagesize())
			}
		}
	}
	return m
}

// ThisMachine describes where the bench runs.
func ThisMachine() report.Machine {
	m := report.Machine{CPUs: runtime.NumCPU(), Go: runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.Model = strings.TrimSpace(value)
				break
			}
		}
	}
	return m
}
