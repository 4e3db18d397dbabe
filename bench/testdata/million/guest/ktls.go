package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// compareTLS tests TLS by the kernel, and measures it beside TLS by the relay and plain
// connections.
func compareTLS(viewers int) error {
	if err := loadModules(); err != nil {
		return err
	}
	errs := []error{show("the kernel makes TLS records, and the relay goes on with what it does not", "/tls.test", "-test.v", "-test.run", "Kernel")}
	every := max(0.2, float64(viewers)*2*secondsPerViewer)
	for _, way := range []struct{ what, server string }{
		{"plain connections", server},
		{"TLS by the relay", server + " --tls-cert {cert} --tls-key {key} --ktls off"},
		{"TLS by the kernel", server + " --tls-cert {cert} --tls-key {key} --ktls auto"},
	} {
		common := []string{"--serve", "--server-command", way.server, "--window", "50", "--viewers", strconv.Itoa(viewers), "--timeout", "5m", "--drain", "2m", "--label", way.what}
		if way.server != server {
			common = append(common, "--tls")
		}
		fanout := append([]string{"bench", "fanout", "--rate", fmt.Sprintf("%.4f", 1/every), "--duration", fmt.Sprintf("%.0fs", 60*every)}, common...)
		idle := append([]string{"bench", "idle", "--duration", "30s", "--warmup=-1s"}, common...)
		errs = append(errs, show(way.what+": broadcasts", "/lectern", fanout...), show(way.what+": memory", "/lectern", idle...))
	}
	return errors.Join(errs...)
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
