// Million loads one relay with more viewers than a machine has descriptors for. It
// starts an emulated machine, whose limits are its own, and measures there. What is
// not on this machine it fetches from Debian, into a folder, without installing it.
//
// It must be started from the root of the project: `make million`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What the emulated machine needs: for itself, and for each viewer and its client.
const (
	baseMemory   = 1 << 30
	viewerMemory = 14 << 10
)

func main() {
	viewers := flag.Int("viewers", 100_000, "viewers of the one room")
	folder := flag.String("folder", "bin/million", "where packages and programs are kept")
	ktls := flag.Bool("ktls", false, "compare TLS by the kernel, TLS by the relay and plain connections instead")
	kvm := flag.Bool("kvm", false, "run the machine's processors on this one's, which needs /dev/kvm: faster, and its figures are nearly native")
	limit := flag.Duration("limit", 6*time.Hour, "after which the machine is ended")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	began := time.Now()
	err := run(ctx, job{viewers: *viewers, ktls: *ktls}, *folder, newProcessor(*kvm))
	fmt.Printf("--- it took %s\n", time.Since(began).Round(time.Second))
	if err != nil {
		fmt.Fprintln(os.Stderr, "million:", err)
		os.Exit(1)
	}
}

// A job is what the machine does.
type job struct {
	viewers int
	ktls    bool
}

// options tell the machine's first program, on the kernel's command line.
func (j job) options() string {
	if j.ktls {
		return fmt.Sprintf("viewers=%d ktls=1", j.viewers)
	}
	return fmt.Sprintf("viewers=%d", j.viewers)
}

func run(ctx context.Context, job job, folder string, processor processor) error {
	if job.viewers < 1 || job.viewers > 4_000_000 {
		return fmt.Errorf("%d viewers: give 1 to 4,000,000", job.viewers)
	}
	memory := baseMemory + job.viewers*viewerMemory
	if free := availableMemory(); free > 0 && free < memory {
		return fmt.Errorf("%d viewers need %d MB of memory, and %d MB are available", job.viewers, memory>>20, free>>20)
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	var e emulator
	var kernel, image string
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"find or fetch qemu", func() (err error) { e, err = findEmulator(ctx, folder); return err }},
		{"find or fetch a kernel", func() (err error) { kernel, err = findKernel(ctx, folder); return err }},
		{"build the relay and the machine's first program", func() (err error) { image, err = buildImage(ctx, folder, job); return err }},
	} {
		began := time.Now()
		fmt.Println("---", step.what)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Printf("    done after %s\n", time.Since(began).Round(100*time.Millisecond))
	}
	fmt.Printf("--- start a machine with %d processors and %d MB (%s, %s)\n", runtime.NumCPU(), memory>>20, processor.name, filepath.Base(kernel))
	return e.boot(ctx, processor, kernel, image, memory, job)
}

// availableMemory returns what the system says is available, 0 if it does not.
func availableMemory() int {
	all, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(all)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemAvailable:" {
			kib, _ := strconv.Atoi(fields[1]) // 0 is not known
			return kib << 10
		}
	}
	return 0
}

// An emulator is qemu, of the system or of unpacked packages.
type emulator struct {
	program   string
	libraries string // folders, for the packages' own
	data      string // folder with its firmware
}

// A processor is how the machine's instructions run.
type processor struct {
	name string
	args []string
}

func newProcessor(kvm bool) processor {
	if kvm {
		return processor{"kvm", []string{"-accel", "kvm", "-cpu", "host"}}
	}
	// What is left out protects the kernel, and is dear to emulate.
	return processor{"emulated", []string{"-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,-smap,-smep,-la57,-pku,-umip,-erms"}}
}

// kernelOptions leave out what protects a machine from its users: emulated, it
// costs more than the rest.
const kernelOptions = "console=ttyS0 quiet panic=-1 init_on_alloc=0 apparmor=0 audit=0 lsm=capability hardened_usercopy=off randomize_kstack_offset=off mitigations=off"

// boot runs the machine to its end and shows what it prints.
func (e emulator) boot(ctx context.Context, processor processor, kernel, image string, memory int, job job) error {
	args := append(slices.Clone(processor.args), "-smp", strconv.Itoa(runtime.NumCPU()), "-m", fmt.Sprintf("%dM", memory>>20),
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", kernel, "-initrd", image, "-append", kernelOptions+" "+job.options())
	if e.data != "" {
		args = append(args, "-L", e.data)
	}
	cmd := exec.CommandContext(ctx, e.program, args...)
	cmd.Env = append(os.Environ(), e.environment()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	seen := &verdict{to: os.Stdout}
	cmd.Stdout, cmd.Stderr = seen, os.Stderr
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", e.program, err), ctx.Err())
	}
	if !seen.good {
		return errors.New("the machine ended without a good result")
	}
	return nil
}

func (e emulator) environment() []string {
	if e.libraries == "" {
		return nil
	}
	return []string{"LD_LIBRARY_PATH=" + e.libraries}
}

// goodResult is the machine's last line if all went well.
const goodResult = "=== all is well"

// A verdict passes on what the machine prints, and looks for the good result.
type verdict struct {
	to   io.Writer
	line []byte
	good bool
}

func (v *verdict) Write(p []byte) (int, error) {
	for _, c := range p {
		if c != '\n' {
			v.line = append(v.line, c)
			continue
		}
		v.good = v.good || strings.HasPrefix(string(v.line), goodResult)
		v.line = v.line[:0]
	}
	return v.to.Write(p)
}
