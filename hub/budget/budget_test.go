package budget

import (
	"math"
	"testing"
)

func TestLevels(t *testing.T) {
	tests := map[string]struct {
		limit, used, heap, more int64
		want                    Level
	}{
		"no limit":               {0, math.MaxInt64 / 2, math.MaxInt64 / 2, 0, Calm},
		"nothing used":           {1000, 0, 0, 0, Calm},
		"one below tight":        {1000, 499, 0, 0, Calm},
		"tight":                  {1000, 500, 0, 0, Tight},
		"one below full":         {1000, 599, 0, 0, Tight},
		"full":                   {1000, 600, 0, 0, Full},
		"one below over":         {1000, 699, 0, 0, Full},
		"over":                   {1000, 700, 0, 0, Over},
		"more than the limit":    {1000, 5000, 0, 0, Over},
		"the heap counts":        {1000, 10, 600, 0, Full},
		"what is asked counts":   {1000, 499, 0, 1, Tight},
		"the largest limit":      {math.MaxInt64, 1 << 40, 0, 0, Calm},
		"the largest limit full": {math.MaxInt64, math.MaxInt64 / 100 * 60, 0, 0, Full},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var b Budget
			b.SetLimit(test.limit)
			b.Add(Logs, test.used)
			b.SetHeap(test.heap)
			if got := b.LevelWith(test.more); got != test.want {
				t.Errorf("level %d, want %d", got, test.want)
			}
		})
	}
}

func TestKindsAddUp(t *testing.T) {
	var b Budget
	for k := range Kinds {
		b.Add(k, int64(k)+1)
	}
	for k := range Kinds {
		if b.Used(k) != int64(k)+1 {
			t.Errorf("%s: %d bytes, want %d", k, b.Used(k), k+1)
		}
		b.Add(k, -b.Used(k))
	}
	if b.Total() != 0 {
		t.Errorf("%d bytes are left of nothing", b.Total())
	}
}
