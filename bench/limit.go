package bench

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
	"lectern/bench/workload"
)

// Limit measures no server at all: a child process sends every message to as
// many sockets, with one raw send each, on all processors. That is the kernel's
// share of a delivery. A server that sends each message by itself stays above it.
// One that is behind and sends several messages at once may fall below.
type Limit struct {
	// Sender is the command of the child; default: this program's hidden
	// command. It must call [SendLimit] with what follows.
	Sender []string
}

func (Limit) name() string { return "limit" }

func (Limit) defaults() workload.Options { return Fanout{}.defaults() }

func (Limit) check(o workload.Options) error {
	switch {
	case o.Rooms != 1 || len(o.RoomNames) > 0:
		return workload.Refuse("limit has one room of its own")
	case o.Clock != workload.Monotonic:
		return workload.Refuse("limit runs on one machine: its clock is %q", workload.Monotonic)
	case o.Serve || o.PID != 0:
		return workload.Refuse("limit measures its own sender: no server takes part")
	}
	return nil
}

func (l Limit) run(ctx context.Context, r *runner) error {
	s, err := startSender(ctx, l.Sender, r)
	if err != nil {
		return err
	}
	r.hosts = []publisher{s}
	if err := r.gather(ctx, "connect", r.options.Viewers); err != nil {
		return err
	}
	_, err = r.measure(ctx, r.plan("limit"))
	return err
}

// A sender is the child process, as a publisher. The two talk in lines of JSON
// over the child's standard input and output.
type sender struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	room   *room
	size   int // immutable; bytes of a message
	seq    uint32
	broken error
}

// senderJob is what the child is to do next.
type senderJob struct {
	Kind  byte    `json:"kind"`
	Start int64   `json:"start"` // nanoseconds of CLOCK_MONOTONIC
	Rate  float64 `json:"rate"`
	Count uint32  `json:"count"`
	Fence bool    `json:"fence"` // send a fence, Start is what it carries
	Limit int64   `json:"limit"` // nanoseconds after which it gives up
}

// senderDone is its answer.
type senderDone struct {
	Addr  string              `json:"addr"` // where it listens, once
	Count uint32              `json:"count"`
	Late  report.Distribution `json:"late"`
}

// startSender starts the child and points a crowd at it.
func startSender(ctx context.Context, command []string, r *runner) (*sender, error) {
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		command = []string{self, "bench", "limit-sender"}
	}
	rm := &room{name: "limit", tag: 1, record: newRecord(1)}
	rm.begin(stamp.Warm, 0)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the sender: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the sender: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the sender: %w", err)
	}
	s := &sender{cmd: cmd, in: in, out: json.NewDecoder(bufio.NewReader(out)), room: rm, size: r.options.Size}
	var hello senderDone
	if err := s.ask(ctx, senderSetup{r.options.Viewers, r.options.Size, rm.tag}, &hello, r.options.Timeout); err != nil {
		s.close()
		return nil, fmt.Errorf("start the sender: %w", err)
	}
	r.options.URL = (&url.URL{Scheme: "ws", Host: hello.Addr}).String()
	r.options.PID = cmd.Process.Pid
	c, err := newCrowd(r.options, r.clock, r.workers())
	if err != nil {
		s.close()
		return nil, err
	}
	c.raw = true
	c.rooms = []*room{rm}
	r.crowd = c
	return s, nil
}

// ask sends the child a line and reads its answer; after the limit, or when
// ctx ends, the child is killed.
func (s *sender) ask(ctx context.Context, question, answer any, limit time.Duration) error {
	if s.broken != nil {
		return s.broken
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.cmd.Process.Kill() })
	defer stop()
	line, err := json.Marshal(question)
	if err == nil {
		_, err = s.in.Write(append(line, '\n'))
	}
	if err == nil {
		err = s.out.Decode(answer)
	}
	if err != nil {
		s.broken = cmp.Or(ctx.Err(), err)
	}
	return s.broken
}

// expect has the viewers compare a message with what the child will send, as they
// do with a relay's.
func (s *sender) expect(st stamp.Stamp) {
	frame := limitFrame(nil, st)
	s.room.record.put(&entry{frame: frame, due: st.Due, seq: st.Seq, kind: st.Kind, header: byte(len(frame) - st.Size)})
}

func (s *sender) begin(kind byte) { s.room.begin(kind, s.seq+1) }

func (s *sender) publish(ctx context.Context, l load) (out sent) {
	limit := time.Duration(float64(l.count)/l.rate*1e9) + 30*time.Second
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	for k := range min(l.count, uint32(len(s.room.record.slots))) {
		s.expect(stamp.Stamp{Kind: l.kind, Room: s.room.tag, Seq: s.seq + 1 + k, Due: l.due(k), Size: s.size})
	}
	var done senderDone
	job := senderJob{Kind: l.kind, Start: l.start, Rate: l.rate, Count: l.count, Limit: int64(limit)}
	if s.ask(ctx, job, &done, limit+10*time.Second) != nil {
		return out
	}
	s.seq += done.Count
	out.count = done.Count
	if h, err := done.Late.Decode(); err == nil {
		out.late.Add(h)
	}
	return out
}

func (s *sender) end() { s.room.close(s.seq + 1) }

func (s *sender) fence(kind byte) {
	s.expect(stamp.Stamp{Kind: kind, Room: s.room.tag, Seq: s.seq + 1, Due: s.room.fence(), Size: s.size})
	var done senderDone
	if s.ask(context.Background(), senderJob{Kind: kind, Start: s.room.fence(), Fence: true}, &done, 10*time.Second) == nil {
		s.seq += done.Count
	}
}

func (s *sender) err() error { return s.broken }

func (s *sender) close() []report.Fault {
	_ = s.in.Close()
	timer := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	err := s.cmd.Wait()
	if s.broken == nil && err == nil {
		return nil
	}
	return []report.Fault{{Who: report.WhoHost, Stage: report.StagePublish, Reason: "the sender broke", Count: 1, Example: strings.TrimSpace(errors.Join(s.broken, err).Error())}}
}
