//go:build linux

package attack

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A cgroup bounds the memory of one relay.
type cgroup struct {
	dir string
	v2  bool
}

// newCgroup returns a memory cgroup with a limit in bytes, or why there can be
// none. It is removed with the test.
func newCgroup(t testing.TB, limit int64) (*cgroup, error) {
	v1, v2 := ownCgroups()
	name := fmt.Sprintf("lectern-attack-%d-%d", os.Getpid(), time.Now().UnixNano())
	var faults []error
	for _, c := range []struct {
		parent, limit string
		v2            bool
	}{
		{filepath.Join("/sys/fs/cgroup/memory", v1), "memory.limit_in_bytes", false},
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", false},
		{filepath.Join("/sys/fs/cgroup", v2), "memory.max", true},
		{"/sys/fs/cgroup", "memory.max", true},
	} {
		g := &cgroup{dir: filepath.Join(c.parent, name), v2: c.v2}
		if err := os.Mkdir(g.dir, 0o755); err != nil {
			faults = append(faults, err)
			continue
		}
		if err := g.write(c.limit, strconv.FormatInt(limit, 10)); err != nil {
			faults = append(faults, err, os.Remove(g.dir))
			continue
		}
		if g.v2 {
			_ = g.write("memory.swap.max", "0") // not there without swap
		}
		t.Cleanup(func() {
			err := os.Remove(g.dir)
			for range 100 { // a process that was killed takes a moment to leave
				if err == nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
				err = os.Remove(g.dir)
			}
			t.Log(err)
		})
		return g, nil
	}
	return nil, errors.Join(faults...)
}

// ownCgroups returns the paths of this process' memory cgroups.
func ownCgroups() (v1, v2 string) {
	all, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(all)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) == 3 && parts[1] == "memory":
			v1 = parts[2]
		case len(parts) == 3 && parts[0] == "0":
			v2 = parts[2]
		}
	}
	return v1, v2
}

func (g *cgroup) write(file, text string) error {
	f, err := os.OpenFile(filepath.Join(g.dir, file), os.O_WRONLY, 0) // never makes a file
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// used returns the bytes charged to the group but for the page cache, and with
// v2 but for what waits in sockets, which v1 does not charge.
func (g *cgroup) used() (int64, error) {
	usage, cache := "memory.usage_in_bytes", []string{"cache"}
	if g.v2 {
		usage, cache = "memory.current", []string{"file", "sock"}
	}
	all, err := os.ReadFile(filepath.Join(g.dir, usage))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(all)), 10, 64)
	if err != nil {
		return 0, err
	}
	for _, key := range cache {
		n -= figureIn(filepath.Join(g.dir, "memory.stat"), key)
	}
	return n, nil
}

// killed reports whether the kernel killed a process of the group for memory.
func (g *cgroup) killed() bool {
	file := "memory.oom_control"
	if g.v2 {
		file = "memory.events"
	}
	return figureIn(filepath.Join(g.dir, file), "oom_kill") > 0
}

// figureIn returns the number that stands behind a word at the beginning of a
// line of a file, 0 if there is none.
func figureIn(file, word string) int64 {
	f, err := os.Open(file)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == word {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n
		}
	}
	return 0
}
