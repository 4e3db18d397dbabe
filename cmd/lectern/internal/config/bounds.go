package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The upper bounds of numbers and times without the tag bounds.
const (
	maxNumber = 1 << 30
	maxTime   = 24 * time.Hour
)

// bounds are the least and the greatest value of a number or a time, which is
// counted in nanoseconds, and how to write them.
type bounds struct {
	low, high         int64
	lowText, highText string
}

// parseBounds reads the tag bounds of an option: "1..256", or "1ms..24h". Without
// the tag it returns the zero bounds.
func parseBounds(tag string) bounds {
	low, high, ok := strings.Cut(tag, "..")
	if !ok {
		return bounds{}
	}
	return bounds{bound(low), bound(high), low, high}
}

// bound reads one of the two bounds. The tags are constants, so a wrong tag fails
// the tests.
func bound(text string) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(fmt.Sprintf("bound %q: %v", text, err))
	}
	return int64(d)
}

// limits returns the bounds of a number or time, and false for any other option.
func (s *setting) limits() (b bounds, ok bool) {
	b = s.bounds
	switch s.target.Interface().(type) {
	case int:
		if b == (bounds{}) {
			b = bounds{0, maxNumber, "0", strconv.Itoa(maxNumber)}
		}
	case time.Duration:
		if b == (bounds{}) {
			b = bounds{0, int64(maxTime), "0", "24h"}
		}
	default:
		return bounds{}, false
	}
	return b, true
}

// isWithin reports whether a number or time is within its bounds, or is a zero with
// a meaning of its own.
func (s *setting) isWithin() bool {
	b, ok := s.limits()
	if !ok || s.ownZero && s.isZero() {
		return true
	}
	n := s.target.Int()
	return b.low <= n && n <= min(b.high, math.MaxInt)
}

// allowed describes the bounds of a number or time.
func (s *setting) allowed() string {
	b, _ := s.limits()
	text := "between " + b.lowText + " and " + b.highText
	if s.ownZero && b.low > 0 {
		return "0 or " + text
	}
	return text
}
