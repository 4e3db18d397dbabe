package usage

import (
	"errors"
	"os"
	"testing"
)

func TestReadProcess(t *testing.T) {
	if p, err := ReadProcess(os.Getpid()); err != nil || p.RSS < 1<<20 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := ReadProcess(1 << 30); !errors.Is(err, ErrNoProcess) {
		t.Errorf("the error is %v", err)
	}
}

func TestReadMachine(t *testing.T) {
	if m := ReadMachine(); m.all <= m.busy || m.busy <= 0 || m.Slab <= 0 {
		t.Errorf("%+v", m)
	}
	if m := ThisMachine(); m.Model == "" || m.Kernel == "" {
		t.Errorf("%+v", m)
	}
}
