package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	emulatorProgram = "qemu-system-x86_64"
	emulatorPackage = "qemu-system-x86"
	kernelPackage   = "linux-image-cloud-amd64"
)

// findEmulator returns the system's qemu, or unpacks Debian's into the folder.
func findEmulator(ctx context.Context, folder string) (emulator, error) {
	if program, err := exec.LookPath(emulatorProgram); err == nil {
		return emulator{program: program}, nil
	}
	root := filepath.Join(folder, "qemu")
	e := emulator{
		program:   filepath.Join(root, "usr/bin", emulatorProgram),
		libraries: filepath.Join(root, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(root, "lib/x86_64-linux-gnu"),
		data:      filepath.Join(root, "usr/share/qemu"),
	}
	if _, err := os.Stat(e.program); err == nil {
		return e, linkFirmware(root)
	}
	// What apt would install is what the system lacks.
	plan, err := output(ctx, folder, "apt-get", "install", "--simulate", "--no-install-recommends", emulatorPackage)
	if err != nil {
		return e, fmt.Errorf("%w (apt-get update may help; or install %s)", err, emulatorPackage)
	}
	var packages []string
	for line := range strings.Lines(plan) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Inst" {
			packages = append(packages, fields[1])
		}
	}
	if err := unpack(ctx, folder, root, packages); err != nil {
		return e, err
	}
	return e, linkFirmware(root)
}

// linkFirmware puts the BIOS, which is a package of its own, where qemu looks.
func linkFirmware(root string) error {
	files, err := filepath.Glob(filepath.Join(root, "usr/share/seabios/*.bin"))
	if err != nil {
		return err
	}
	for _, file := range files {
		link := filepath.Join(root, "usr/share/qemu", filepath.Base(file))
		if err := os.Symlink(file, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// findKernel returns the kernel of an earlier run, or unpacks Debian's.
func findKernel(ctx context.Context, folder string) (string, error) {
	root := filepath.Join(folder, "linux")
	pattern := filepath.Join(root, "boot/vmlinuz-*")
	if found, _ := filepath.Glob(pattern); len(found) > 0 { // the pattern is right
		return found[0], nil
	}
	depends, err := output(ctx, folder, "apt-cache", "depends", kernelPackage)
	if err != nil {
		return "", err
	}
	_, name, found := strings.Cut(depends, "Depends: ")
	if !found {
		return "", fmt.Errorf("apt knows no %s (apt-get update may help)", kernelPackage)
	}
	name, _, _ = strings.Cut(name, "\n")
	if err := unpack(ctx, folder, root, []string{strings.TrimSpace(name)}); err != nil {
		return "", err
	}
	if unpacked, _ := filepath.Glob(pattern); len(unpacked) > 0 {
		return unpacked[0], nil
	}
	return "", fmt.Errorf("there is no kernel in %s", name)
}

// unpack fetches packages, whose signatures apt checks, and unpacks them into root.
// They are not installed, and none of their scripts is run.
func unpack(ctx context.Context, folder, root string, packages []string) error {
	archives, err := os.MkdirTemp(folder, "packages-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(archives)
	fmt.Printf("    fetching %d packages\n", len(packages))
	if _, err := output(ctx, archives, "apt-get", append([]string{"download", "--quiet"}, packages...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return err
	}
	// It appears under its name when it is whole.
	whole := filepath.Join(archives, "root")
	for _, file := range files {
		if _, err := output(ctx, archives, "dpkg-deb", "--extract", file, whole); err != nil {
			return err
		}
	}
	return os.Rename(whole, root)
}

// output runs a program in a folder and returns what it prints.
func output(ctx context.Context, folder, program string, args ...string) (string, error) {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = folder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}
