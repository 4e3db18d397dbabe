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
	"strings"
)

// buildImage builds what the machine runs and returns the archive that its kernel
// unpacks: the relay, and the program that the kernel starts. With ktls there are also
// the test of TLS by the kernel, and the kernel's modules for it.
func buildImage(ctx context.Context, folder string, job job) (image string, err error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	programs := []struct {
		name   string
		source []string
	}{
		{"init", []string{"build", "-buildvcs=false", "./bench/testdata/million/guest"}},
		{"lectern", []string{"build", "-buildvcs=false", "./cmd/lectern"}},
		{"tls.test", []string{"test", "-c", "-tags", "ktls", "./netpoll/tlstransport"}},
	}
	for _, p := range programs {
		line := append([]string{"CGO_ENABLED=0", "go", p.source[0], "-o", filepath.Join(folder, p.name)}, p.source[1:]...)
		if _, err := output(ctx, root, "env", line...); err != nil {
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
	for _, name := range []string{"dev", "modules", "proc", "sys", "tmp"} {
		a.add(name, fs.ModeDir|0o755, nil)
	}
	for _, p := range programs {
		content, err := os.ReadFile(filepath.Join(folder, p.name))
		if err != nil {
			return "", errors.Join(err, file.Close())
		}
		a.add(p.name, 0o755, content)
	}
	if job.ktls {
		if err := a.addModules(ctx, folder); err != nil {
			return "", errors.Join(err, file.Close())
		}
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

// tlsModules are what the kernel needs for TLS with AES-GCM, each after those that it
// needs.
var tlsModules = []string{"cryptd", "crypto_simd", "gf128mul", "ghash-generic", "ctr", "gcm", "aesni-intel", "tls"}

// addModules adds the kernel's modules for TLS. Their names begin with their places in
// the order. What a kernel has built in, or calls otherwise, is left out.
func (a *archive) addModules(ctx context.Context, folder string) error {
	for i, name := range tlsModules {
		var found string
		err := filepath.WalkDir(filepath.Join(folder, "linux/lib/modules"), func(path string, _ fs.DirEntry, err error) error {
			if base, _, ok := strings.Cut(filepath.Base(path), ".ko"); ok && base == name {
				found = path
			}
			return err
		})
		if err != nil {
			return err
		}
		if found == "" {
			continue
		}
		content, err := output(ctx, folder, "cat", found)
		if strings.HasSuffix(found, ".xz") {
			content, err = output(ctx, folder, "xz", "--decompress", "--stdout", found)
		}
		if err != nil {
			return err
		}
		a.add(fmt.Sprintf("modules/%02d-%s.ko", i, name), 0o644, []byte(content))
	}
	return nil
}
