package usage

import (
	"errors"
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	cpu, err := parseStat([]byte("42 (a ) b) c) S 1 1 1 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 5 0 100 1000 50"))
	if err != nil || cpu != 4 {
		t.Errorf("%v, %v", cpu, err)
	}
	for _, bad := range []string{"", "1 (x) S 1", "1 (x) S 1 1 1 0 -1 4194560 100 0 0 0 a b 0 0"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is no stat", bad)
		}
	}
	own, err := ReadProcess(os.Getpid())
	if err != nil || own.RSS < 1<<20 {
		t.Errorf("%+v, %v", own, err)
	}
	if _, err := ReadProcess(1 << 30); !errors.Is(err, ErrNoProcess) {
		t.Errorf("the error is %v", err)
	}
}
