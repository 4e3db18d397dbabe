package scenario

import (
	"errors"
	"testing"
	"time"

	"lectern/bench/report"
)

// TestThresholdDecides has messages go missing in a run that tolerates as many
// or fewer.
func TestThresholdDecides(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		most uint64
		want error
	}{"tolerated": {8, nil}, "too many": {7, report.ErrThreshold}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &Relay{Deliver: func(_, n int, m []byte) [][]byte {
				if n == 5 {
					return nil
				}
				return [][]byte{m}
			}}
			o := Small(r.Start(t))
			o.Rate, o.Duration, o.Thresholds.MaxMissing = 50, 400*time.Millisecond, &test.most
			res, err := runSmall(t, Fanout{}, o)
			if !errors.Is(err, test.want) || errors.Is(err, report.ErrFailed) || res.Phases[0].Missing != 8 {
				t.Errorf("%v, %d missing, %q", err, res.Phases[0].Missing, res.Problems)
			}
		})
	}
}
