package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// compareTLS tests TLS by the kernel.
func compareTLS(viewers int) error {
	if err := loadModules(); err != nil {
		return err
	}
	return show("the kernel makes TLS records, and the relay goes on with what it does not", "/tls.test", "-test.v", "-test.run", "Kernel")
}

// loadModules has the kernel load its modules, in the order of their names.
func loadModules() error {
	files, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(file.Fd()), "", 0)
		_ = file.Close()
		if err != nil && err != syscall.EEXIST {
			fmt.Printf("    the kernel does without %s: %v\n", filepath.Base(path), err)
		}
	}
	return nil
}
