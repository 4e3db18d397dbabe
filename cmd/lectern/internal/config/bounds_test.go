package config

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestEveryNumberHasBounds sets each to its bounds, and to one past them.
func TestEveryNumberHasBounds(t *testing.T) {
	t.Parallel()
	standard, err := read(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	numbers := 0
	for _, set := range standard.all {
		limits, ok := set.limits()
		if !ok {
			continue
		}
		numbers++
		if set.bounds == (bounds{}) || limits.low <= 0 || limits.low > limits.high {
			t.Errorf("--%s lacks the tag bounds, or has a strange one", set.name)
			continue
		}
		text := func(n int64) string {
			if _, isTime := set.target.Interface().(time.Duration); isTime {
				return time.Duration(n).String()
			}
			return strconv.FormatInt(n, 10)
		}
		for n, good := range map[int64]bool{limits.low: true, limits.high: true, limits.low - 1: limits.low == 1, limits.high + 1: false, -1: false} {
			_, err := read(t, "", nil, "--"+set.name+"="+text(n))
			want := fmt.Sprintf("--%s must be %s, not %s", set.name, set.allowed(), text(n))
			if told := err != nil && strings.Contains(err.Error(), want); told == good {
				t.Errorf("--%s=%s: %v, want %q: %t", set.name, text(n), err, want, !good)
			}
		}
	}
	if numbers < 30 {
		t.Errorf("only %d numbers and times were found", numbers)
	}
}

// TestAddressesMustDiffer although port 0 stands for any.
func TestAddressesMustDiffer(t *testing.T) {
	t.Parallel()
	for addresses, good := range map[[2]string]bool{
		{"127.0.0.1:8765", "127.0.0.1:8765"}: false,
		{":8765", "127.0.0.1:8765"}:          false,
		{"127.0.0.1:8765", "0.0.0.0:8765"}:   false,
		{"[::]:8765", "10.0.0.1:8765"}:       false,
		{"127.0.0.1:0", "127.0.0.1:0"}:       true,
		{"127.0.0.1:8765", "127.0.0.2:8765"}: true,
		{"127.0.0.1:8765", "127.0.0.1:8766"}: true,
		{"127.0.0.1:8765", ""}:               true,
	} {
		_, err := read(t, "", nil, "--addr="+addresses[0], "--admin-addr="+addresses[1])
		if (err == nil) != good {
			t.Errorf("%q: %v", addresses, err)
		}
	}
	for echo, good := range map[string]bool{"/": false, "/v1/websocket": false, "/echo": true} {
		if _, err := read(t, "", nil, "--echo="+echo); (err == nil) != good {
			t.Errorf("--echo=%s: %v", echo, err)
		}
	}
}
