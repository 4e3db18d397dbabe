package broadcast

import (
	"flag"
	"testing"
)

// TestMain makes the model tests long enough to get into trouble.
func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{"rapid.steps": "100", "rapid.checks": "200"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	m.Run()
}
