//go:build linux

package attack

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// planEnv holds the plan of a process that is an attacker.
const planEnv = "LECTERN_ATTACK_PLAN"

// A plan is what an attacker is to do.
type plan struct {
	Attack      string        // a key of attacks
	Full        bool          // in the full form
	Addr, Admin string        // of the relay
	Code        string        // of the innocent room
	APIKey      string        // if the relay has one
	Count       int           // connections, or what the attack counts
	For         time.Duration // how long it lasts, without its preparations
	Slow        time.Duration // its preparations may take as long at most
}

// An attacker is a process that attacks. Its methods may be called from any
// goroutine.
type attacker struct {
	plan
	late time.Time // its preparations end then at the latest
	end  time.Time // it ends then; zero during its preparations

	refused atomic.Int64 // connections and messages that the relay did not take
	mu      sync.Mutex
	figures map[string]float64 // guarded by mu
	held    []*peer            // guarded by mu; so that they are not collected
}

// beAttacker is the life of an attacker's process.
func beAttacker(text string) error {
	a := &attacker{figures: map[string]float64{}}
	if err := json.Unmarshal([]byte(text), &a.plan); err != nil {
		return err
	}
	*full = a.Full
	a.late = time.Now().Add(a.Slow)
	debug.SetGCPercent(400)
	attack := attacks[a.Attack]
	if attack == nil {
		return fmt.Errorf("no attack %q", a.Attack)
	}
	// The attack's own end comes first; this is for one that is stuck.
	time.AfterFunc(a.Slow+a.For+peerTimeout+5*time.Second, func() {
		fmt.Fprintf(os.Stderr, "attacker: %s is stuck\n", a.Attack)
		os.Exit(3)
	})
	err := attack(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := a.refused.Load(); n > 0 {
		a.figures["refused"] = float64(n)
	}
	out, _ := json.Marshal(a.figures)
	fmt.Printf("figures %s\n", out)
	return err
}

// begin ends the preparations.
func (a *attacker) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.end.IsZero() {
		a.end = time.Now().Add(a.For)
		fmt.Println("begin")
	}
}

// over reports whether the attack has ended, or its preparations take too long.
func (a *attacker) over() bool {
	if a.end.IsZero() {
		return time.Now().After(a.late)
	}
	return time.Now().After(a.end)
}

// rest waits for the attack's end.
func (a *attacker) rest() { time.Sleep(time.Until(a.end)) }

// figure tells a number.
func (a *attacker) figure(name string, n float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.figures[name] = n
}

// address returns the address of connection n. There are 32, so that limits for
// each address do not hide what the other bounds hold.
func address(n int) string { return fmt.Sprintf("127.0.0.%d", 2+n%32) }

// peer returns connection n, after a handshake and with the answer to what it
// says first; nil if the relay does not take it.
func (a *attacker) peer(n int, deaf bool, text string) (*peer, answer) {
	p, err := connect(a.Addr, address(n), deaf)
	if err != nil {
		a.refused.Add(1)
		return nil, answer{}
	}
	_ = p.conn.SetDeadline(time.Now().Add(peerTimeout))
	var got answer
	first, err := p.open(text)
	if err == nil && text != "" {
		err = json.Unmarshal([]byte(first), &got)
	}
	if err != nil || got.Error != "" {
		a.refused.Add(1)
		p.reset()
		return nil, got
	}
	_ = p.conn.SetDeadline(time.Now().Add(2 * time.Minute))
	a.hold(p)
	return p, got
}

// bare returns connection n before its handshake, or nil.
func (a *attacker) bare(n int) *peer {
	p, err := connect(a.Addr, address(n), true)
	if err != nil {
		a.refused.Add(1)
		return nil
	}
	a.hold(p)
	return p
}

func (a *attacker) hold(p *peer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = append(a.held, p)
}

// each calls f for 0 to n-1, 32 at a time, until it is over.
func (a *attacker) each(n int, f func(i int)) {
	var all sync.WaitGroup
	var next atomic.Int64
	for range 32 {
		all.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || a.over() {
					return
				}
				f(i)
			}
		})
	}
	all.Wait()
}

// pace calls f so many times a second, one after the other, until the end. When f
// is slow it is called less often, and never in a burst.
func (a *attacker) pace(rate float64, f func(i int)) {
	every := time.Duration(float64(time.Second) / rate)
	for i, due := 0, time.Now(); !a.over(); i++ {
		f(i)
		if due = due.Add(every); time.Until(due) < -100*time.Millisecond {
			due = time.Now()
		}
		time.Sleep(time.Until(due))
	}
}

// paceEach calls f for 0 to n-1 so many times a second each, none of which waits
// for another, until the end. They are spread evenly.
func (a *attacker) paceEach(n int, rate float64, f func(i, turn int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			time.Sleep(time.Duration(float64(i) / float64(n) / rate * float64(time.Second)))
			a.pace(rate, func(turn int) { f(i, turn) })
		})
	}
	all.Wait()
}

// write writes until the end of the attack at most, and reports whether all was
// taken.
func (a *attacker) write(p *peer, b []byte) bool {
	_ = p.conn.SetWriteDeadline(a.end)
	if _, err := p.conn.Write(b); err != nil {
		return false
	}
	return true
}

// An assault is an attacker's process, as its parent sees it.
type assault struct {
	cmd   *exec.Cmd
	began chan struct{} // closed when its preparations are done
	ended chan struct{} // closed when it has ended
	err   error         // valid when it has ended

	mu      sync.Mutex
	figures map[string]float64
}

// assail starts an attacker.
func assail(p plan) (*assault, error) {
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	name, args := os.Args[0], []string(nil)
	if nice, err := exec.LookPath("nice"); err == nil { // what a machine of its own would be
		name, args = nice, []string{"-n", "10", os.Args[0]}
	}
	s := &assault{cmd: exec.Command(name, args...), began: make(chan struct{}), ended: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), planEnv+"="+string(text), "GOMAXPROCS=1")
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			switch line := lines.Text(); {
			case line == "begin":
				close(s.began)
			case len(line) > 8 && line[:8] == "figures ":
				s.mu.Lock()
				_ = json.Unmarshal([]byte(line[8:]), &s.figures)
				s.mu.Unlock()
			}
		}
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	return s, nil
}

// figure returns a number that the attacker told, when it has ended.
func (s *assault) figure(name string) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.figures[name]
}

// stop kills it.
func (s *assault) stop() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}
