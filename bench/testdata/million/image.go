package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// buildImage builds what the machine runs and returns the archive that its kernel
// unpacks: the relay, and the program that the kernel starts.
func buildImage(ctx context.Context, folder string) (image string, err error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	programs := []struct{ name, source string }{
		{"init", "./bench/testdata/million/guest"},
		{"lectern", "./cmd/lectern"},
	}
	for _, p := range programs {
		if _, err := output(ctx, root, "env", "CGO_ENABLED=0", "go", "build", "-buildvcs=false", "-o", filepath.Join(folder, p.name), p.source); err != nil {
			return "", err
		}
	}
	image = filepath.Join(folder, "image.gz")
	file, err := os.Create(image)
	if err != nil {
		return "", err
	}
	packed, _ := gzip.NewWriterLevel(file, gzip.BestSpeed) // a level that there is
	a := &archive{to: packed}
	for _, name := range []string{"dev", "proc", "sys", "tmp"} {
		a.add(name, fs.ModeDir|0o755, nil)
	}
	for _, p := range programs {
		content, err := os.ReadFile(filepath.Join(folder, p.name))
		if err != nil {
			return "", errors.Join(err, file.Close())
		}
		a.add(p.name, 0o755, content)
	}
	a.add("TRAILER!!!", 0, nil)
	return image, errors.Join(a.err, packed.Close(), file.Close())
}

// An archive is written in cpio's format newc, as the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst has it.
type archive struct {
	to    io.Writer
	files int
	err   error // the first
}

func (a *archive) add(name string, mode fs.FileMode, content []byte) {
	bits := uint32(mode.Perm())
	switch {
	case mode.IsDir():
		bits |= 0o040000
	case bits != 0:
		bits |= 0o100000
	}
	a.files++
	header := "070701"
	for _, field := range []uint32{
		uint32(a.files), bits, 0, 0, 1, 0, uint32(len(content)), 0, 0, 0, 0, uint32(len(name) + 1), 0,
	} {
		header += fmt.Sprintf("%08X", field)
	}
	a.write([]byte(header + name + "\x00"))
	a.write(content)
}

// write writes bytes, and zeros up to a multiple of four.
func (a *archive) write(p []byte) {
	if a.err == nil {
		_, a.err = a.to.Write(append(p[:len(p):len(p)], make([]byte, -len(p)&3)...))
	}
}
