package config

import (
	"strings"
	"testing"
)

func TestHostnames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a:80", "http://a", "a/b", "", "*", "a..b c", ".a", strings.Repeat("a", 254)} {
		if _, err := read(t, "", nil, "--admin-host="+name); err == nil && name != "" {
			t.Errorf("--admin-host %q is accepted", name)
		}
	}
}
