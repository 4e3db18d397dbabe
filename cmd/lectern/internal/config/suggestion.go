package config

import (
	"fmt"
	"maps"
	"slices"
)

// suggestion ends a message about an unknown name with the closest known name. It
// is empty if no name is close.
func suggestion[V any](wrong string, known map[string]V) string {
	nearest, least := "", len(wrong)/2+1
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if d := distance(wrong, name); d < least {
			nearest, least = name, d
		}
	}
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", nearest)
}

// distance returns how many bytes must be added, removed or changed to turn a
// into b: the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // of a's beginning, to each beginning of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
