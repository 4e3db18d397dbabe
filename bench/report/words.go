package report

import (
	"fmt"
	"strconv"
)

// Grouped writes a number with commas between thousands.
func Grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Micros writes microseconds for people.
func Micros(us int64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%d us", us)
	case us < 1e6:
		return fmt.Sprintf("%.3g ms", float64(us)/1e3)
	default:
		return fmt.Sprintf("%.3g s", float64(us)/1e6)
	}
}

// Size writes bytes for people.
func Size(n int64) string {
	switch abs := max(n, -n); {
	case abs < 10<<10:
		return fmt.Sprintf("%d B", n)
	case abs < 10<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
}

// Count says "1 room" or "3 rooms".
func Count[N int | uint64 | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%s %ss", Grouped(int64(n)), noun)
}

// Clip shortens a text to n bytes, and shows that it did.
func Clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

// Trim writes a number with up to six digits.
func Trim(f float64) string { return fmt.Sprintf("%.6g", f) }
