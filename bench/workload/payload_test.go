package workload

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"testing"

	"lectern/bench/stamp"
)

// TestPayloads has messages of each payload be JSON that compresses as in a lecture,
// wherever they begin in its text.
func TestPayloads(t *testing.T) {
	for payload, least := range map[Payload]float64{Random: 1.2, JSON: 2.3, SVG: 2.8} {
		t.Run(string(payload), func(t *testing.T) {
			text := payload.Text()
			var all, packed int
			for seq := range uint32(500) {
				s := stamp.Stamp{Kind: stamp.Measured, Seq: seq, Size: max(sizes[payload], 2<<10) - int(seq%7)}
				message := append(s.AppendWith([]byte(`{"data":"`), text), `"}`...)
				if !json.Valid(message) {
					t.Fatalf("number %d is not JSON: ...%s", seq, message[len(message)-40:])
				}
				if got, verdict := stamp.Parse(message[len(`{"data":"`):]); verdict != stamp.Intact || got != s {
					t.Fatalf("number %d: %+v, %d", seq, got, verdict)
				}
				if seq%50 == 0 {
					var out bytes.Buffer
					w, _ := flate.NewWriter(&out, 6)
					_, _ = w.Write(message)
					_ = w.Close()
					all, packed = all+len(message), packed+out.Len()
				}
			}
			if ratio := float64(all) / float64(packed); ratio < least || ratio > 2*least {
				t.Errorf("it compresses by a factor of %.2f", ratio)
			}
		})
	}
}
