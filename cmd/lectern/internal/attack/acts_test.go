//go:build linux

package attack

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// newcomerTime is what an honest newcomer waits at most.
const newcomerTime = 2 * time.Second

func withData(s *scene) error {
	s.setting.flags = append(s.setting.flags, "--data", filepath.Join(s.t.TempDir(), "data"))
	return nil
}

func withAPI(s *scene) error {
	s.apiKey = strings.Repeat("key", 8)
	file := filepath.Join(s.t.TempDir(), "key")
	s.setting.flags = append(s.setting.flags, "--api-key-file", file)
	return os.WriteFile(file, []byte(s.apiKey), 0o600)
}

// lasts is for how long the row's attackers go on.
func (s *scene) lasts() time.Duration {
	whole := usual
	if len(s.plans) > 0 {
		whole = s.plans[0].For
	}
	return sized(whole, min(whole/16, time.Second))
}

// moment is an act that waits.
func moment(s *scene) { time.Sleep(s.lasts()) }

// attended calls f five times a second while the attackers are there.
func (s *scene) attended(f func()) {
	for end := time.Now().Add(s.lasts() + 500*time.Millisecond); time.Now().Before(end) && s.relay.lives(); {
		began := time.Now()
		f()
		time.Sleep(200*time.Millisecond - time.Since(began))
	}
}

// serves has newcomers join the room, and asks the admin address for health.
func serves(s *scene) {
	late, sick, n := 0, 0, 0
	time.Sleep(500 * time.Millisecond) // the attackers begin
	s.attended(func() {
		n++
		if err := s.newcomer(); err != nil {
			late++
		}
		if status, _ := s.relay.get("/health/live", "", newcomerTime); status != http.StatusOK {
			sick++
		}
	})
	s.note("%d newcomers", n)
	if late > 0 {
		s.fault("%d of %d newcomers are not in within %s", late, n, newcomerTime)
	}
	if sick > 0 {
		s.fault("health was not answered %d times of %d", sick, n)
	}
}

// newcomer joins a room and leaves it, in good time.
func (s *scene) newcomer() error {
	p, err := connect(s.relay.addr, innocentAddress, false)
	if err != nil {
		return err
	}
	defer p.reset()
	_ = p.conn.SetDeadline(time.Now().Add(newcomerTime))
	if s.secure {
		p.conn = tls.Client(p.conn, strangerTLS())
	}
	got, err := p.open(`{"type":"join","code":"` + s.room.code + `"}`)
	if err == nil && !strings.HasPrefix(got, string(joinedBegins)) {
		err = errors.New(got)
	}
	return err
}

// opensRooms has somebody else open a room now and then.
func opensRooms(s *scene) {
	refused, n := 0, 0
	s.attended(func() {
		n++
		host, _, err := openHost(s.relay.addr, s.secure)
		if err != nil {
			refused++
			return
		}
		_, _ = host.Write(textFrame(`{"type":"close"}`))
		_ = host.Close()
	})
	if refused > 0 {
		s.fault("%d of %d who would open a room could not", refused, n)
	}
}

// writesRooms holds that the rooms were written all the time.
func writesRooms(s *scene) {
	failed, ok := s.relay.metric("lectern_data_errors_total")
	if !ok || failed != 0 {
		s.fault("rooms could not be written %v times", failed)
	}
}

// withFullDisk gives the relay a directory that it cannot write to.
func withFullDisk(s *scene) error {
	dir := s.t.TempDir()
	s.setting.flags = append(s.setting.flags, "--data", filepath.Join(dir, "data"))
	if err := unix.Mount("lectern-attack", dir, "tmpfs", 0, "size=64k"); err != nil {
		s.note("no small disk could be mounted (%v), no file may grow instead", err)
		s.setting.noFiles = true
		return nil
	}
	s.t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			s.t.Error(err)
		}
	})
	err := os.WriteFile(filepath.Join(dir, "full"), make([]byte, 128<<10), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("the disk is not full: %v", err)
	}
	return nil
}

func saysThatDataFails(s *scene) {
	if failing, ok := s.relay.metric("lectern_data_failing"); !ok || failing != 1 {
		s.fault("lectern_data_failing is %v", failing)
	}
}

// withFullRooms leaves what a relay with full rooms has written when it is
// killed.
func withFullRooms(s *scene) error {
	if err := withData(s); err != nil {
		return err
	}
	first, err := startRelay(s.t, setting{flags: s.setting.flags, free: true})
	if err != nil {
		return err
	}
	s.relay = first
	s.row.slow = time.Minute
	fill, err := s.assail(plan{Attack: "fill rooms", Count: sized(4000, 100), For: 10 * time.Second})
	if err != nil {
		return err
	}
	select {
	case <-fill.began:
	case <-fill.ended:
		return fmt.Errorf("the rooms cannot be filled: %w", fill.err)
	}
	time.Sleep(time.Second) // --data-every is 100 ms
	first.kill()
	fill.stop()
	return nil
}

// readyTime is within which a relay is ready that has many rooms to restore.
const readyTime = 3 * time.Second

// countsRooms notes how many rooms there are as they are restored. They end when
// their hosts do not come back.
func countsRooms(s *scene) {
	want := float64(sized(4000, 100))
	go func() {
		for began := time.Now(); time.Since(began) < 10*time.Second && s.relay.lives(); time.Sleep(100 * time.Millisecond) {
			rooms, _ := s.relay.metric("lectern_rooms")
			s.mu.Lock()
			if rooms > s.restored {
				s.restored, s.restoring = rooms, s.relay.ready+time.Since(began)
			}
			s.mu.Unlock()
			if rooms >= want {
				return
			}
		}
	}()
}

func readySoon(s *scene) {
	s.mu.Lock()
	restored, restoring := s.restored, s.restoring
	s.mu.Unlock()
	if want := float64(sized(4000, 100)); restored < want {
		s.fault("%v of %v rooms", restored, want)
	}
	s.note("%v rooms after %s, ready after %s", restored, brief(restoring), brief(s.relay.ready))
	if s.relay.ready > readyTime {
		s.fault("ready after %s", brief(s.relay.ready))
	}
	s.peaks(s.relay.most()) // with that of the start, which nobody watched
}

// costsOfKicks compares the relay's processor time beside a room that nobody was
// kicked from, and beside one with many kicks.
func costsOfKicks(s *scene) {
	resume := s.room.pause()
	defer resume()
	s.row.slow = time.Minute
	const most = 0.01 // of a processor
	measured := sized(5*time.Second, 500*time.Millisecond)
	cost := func(count int) float64 {
		a, err := s.assail(plan{Attack: "kicks", Count: count, For: measured + time.Second})
		if err != nil {
			s.fault("%v", err)
			return 0
		}
		select {
		case <-a.began:
		case <-a.ended:
			s.fault("the attacker failed: %v", a.err)
			return 0
		}
		time.Sleep(measured / 5)
		used := s.relay.processor()
		time.Sleep(measured)
		used = s.relay.processor() - used
		a.stop()
		return used.Seconds() / measured.Seconds()
	}
	before := cost(0)
	after := cost(sized(60_000, 100))
	s.note("%.1f %% of a processor at rest, %.1f %% after the kicks", before*100, after*100)
	if *full && after > before+most {
		s.fault("kicks cost %.1f %% of a processor", (after-before)*100)
	}
}

// idleTimeout is that of the relays that are to take somebody for dead.
const idleTimeout = 1500 * time.Millisecond

// standsStill stops the relay for longer than it takes a silent peer for dead.
func standsStill(s *scene) {
	resume := s.room.pause()
	defer resume()
	time.Sleep(broadcastEvery)
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := s.relay.cmd.Process.Signal(signal); err != nil {
			s.fault("%v", err)
		}
		time.Sleep(idleTimeout * 3 / 2)
	}
}

// withConfig has the relay take its times from a file.
func withConfig(s *scene) error {
	file := filepath.Join(s.t.TempDir(), "lectern.toml")
	s.setting.flags = append(s.setting.flags, "--config", file)
	return os.WriteFile(file, []byte("ping-after = \"40s\"\nidle-timeout = \"2h\"\n"), 0o600)
}

// lowersIdleTimeout changes the file when the viewers have been silent for longer
// than its new time.
func lowersIdleTimeout(s *scene) {
	file := s.setting.flags[len(s.setting.flags)-1]
	resume := s.room.pause()
	defer resume()
	time.Sleep(idleTimeout * 3 / 2)
	if err := os.WriteFile(file, fmt.Appendf(nil, "ping-after = \"500ms\"\nidle-timeout = %q\n", idleTimeout), 0o600); err != nil {
		s.fault("%v", err)
	}
	if err := s.relay.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.fault("%v", err)
	}
	time.Sleep(idleTimeout * 3 / 2)
}

// asksAdmin asks the admin address under names that a page may have made point to
// it, and under those of its own.
func asksAdmin(s *scene) {
	_, port, _ := strings.Cut(s.relay.admin, ":")
	for _, path := range []string{"/metrics", "/health/live"} {
		for _, host := range []string{"evil.example", "evil.example:" + port, "localhost.evil.example", "127.0.0.1.evil.example"} {
			if status, _ := s.relay.get(path, host, 5*time.Second); status == http.StatusOK {
				s.fault("%s is answered to Host %s", path, host)
				break
			}
		}
		for _, host := range []string{"localhost", "localhost:" + port, s.relay.admin, "127.0.0.1", "[::1]:" + port} {
			if status, body := s.relay.get(path, host, 5*time.Second); status != http.StatusOK {
				s.fault("%s for Host %s: %d %.80s", path, host, status, body)
			}
		}
	}
}

// guessedNoMore holds that wrong tokens do not buy guesses.
func guessedNoMore(s *scene) {
	alone, beside := s.figure("looked at"), s.figure("looked at beside wrong tokens")
	if alone == 0 {
		s.fault("no guess was looked at")
	}
	if beside > alone*1.1+5 {
		s.fault("%v guesses were looked at instead of %v", beside, alone)
	}
}

func schoolGetsIn(s *scene) {
	asked, in, slowest := s.figure("asked"), s.figure("in"), s.figure("slowest ms")
	if in < asked || asked == 0 {
		s.fault("%v of %v with the right code are in", in, asked)
	}
	if slowest > 1000 && *full {
		s.fault("one waited %v ms", slowest)
	}
}

func hallIsBack(s *scene) {
	if asked, back := s.figure("asked"), s.figure("back"); back < asked*0.99 || asked == 0 {
		s.fault("%v of %v are back", back, asked)
	}
}
