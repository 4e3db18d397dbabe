// Package usage measures what processes and the machine use: processor time and
// memory, at a moment or over time.
package usage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"lectern/bench/report"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// A Process is a process's use of the machine at a moment.
type Process struct {
	cpu float64 // seconds since its start, user and system
	RSS int64   // resident bytes
}

// ErrNoProcess says that a process is not there, or may not be looked at.
var ErrNoProcess = errors.New("usage: process cannot be read")

// ReadProcess returns what a process and its descendants use: a server may be several
// processes.
func ReadProcess(pid int) (Process, error) {
	sum, err := read(pid)
	if err != nil {
		return sum, err
	}
	for _, child := range descendants(pid) {
		if p, err := read(child); err == nil { // it may have ended
			sum.cpu += p.cpu
			sum.RSS += p.RSS
		}
	}
	return sum, nil
}

// descendants returns the processes that come from one, in any generation.
func descendants(pid int) (all []int) {
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	for _, path := range children {
		text, _ := os.ReadFile(path) // a thread may have ended
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(append(all, child), descendants(child)...)
			}
		}
	}
	return all
}

// read reads /proc/PID.
func read(pid int) (Process, error) {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return Process{}, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	stat, err := proc.Stat()
	if err != nil {
		return Process{}, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	p := Process{cpu: stat.CPUTime(), RSS: int64(stat.ResidentMemory())}
	// The kernel is behind with what stat says, by up to some pages a thread.
	if exact, err := proc.ProcSMapsRollup(); err == nil && exact.Rss > 0 {
		p.RSS = int64(exact.Rss)
	}
	return p, nil
}

// own returns what the bench itself uses, with a finer clock than that of /proc.
func own() Process {
	var ru unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &ru) // RUSAGE_SELF is always valid
	p, _ := read(os.Getpid())                 // what cannot be read is 0
	p.cpu = float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
	return p
}

// A MachineState is the whole machine at a moment.
type MachineState struct {
	busy, all float64 // seconds of all processors since boot
	Slab      int64   // bytes of kernel objects, sockets among them
	Buffers   int64   // bytes of TCP's buffers
}

// ReadMachine reads /proc. What cannot be read is 0.
func ReadMachine() (m MachineState) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return m
	}
	if stat, err := fs.Stat(); err == nil {
		c := stat.CPUTotal
		m.busy = c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
		m.all = m.busy + c.Idle + c.Iowait
	}
	if memory, err := fs.Meminfo(); err == nil && memory.SlabBytes != nil {
		m.Slab = int64(*memory.SlabBytes)
	}
	if sockets, err := fs.NetSockstat(); err == nil {
		for _, p := range sockets.Protocols {
			if p.Protocol == "TCP" && p.Mem != nil {
				m.Buffers = int64(*p.Mem) * int64(os.Getpagesize())
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
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if cpus, err := fs.CPUInfo(); err == nil && len(cpus) > 0 {
			m.Model = cpus[0].ModelName
		}
	}
	return m
}
