package roster

import (
	"slices"
	"sort"
)

// maxVoidRanges is the largest number of ranges of void ids in a room.
const maxVoidRanges = 1024

// idRanges is a set of ids: sorted ranges, each from a first to a last id, with
// a gap between any two. It is immutable, so readers need no lock.
type idRanges [][2]uint32

// after returns the index of the first range that ends at the id or later.
func (r idRanges) after(id uint32) int {
	return sort.Search(len(r), func(i int) bool { return r[i][1] >= id })
}

// has reports whether the id is in the set.
func (r idRanges) has(id uint32) bool {
	i := r.after(id)
	return i < len(r) && r[i][0] <= id
}

// with returns the set with one more id. If that makes more than maxVoidRanges
// ranges, the two with the smallest gap between them become one, and the ids in
// the gap are then in the set too.
func (r idRanges) with(id uint32) idRanges {
	if r.has(id) {
		return r
	}
	i := r.after(id)
	return append(slices.Clone(r[:i]), append(idRanges{{id, id}}, r[i:]...)...).merged()
}

// merged joins adjacent ranges, and then the closest ones until at most
// maxVoidRanges are left. It may modify r.
func (r idRanges) merged() idRanges {
	out := r[:0]
	for _, next := range r {
		if n := len(out); n > 0 && uint64(next[0]) <= uint64(out[n-1][1])+1 {
			out[n-1][1] = max(out[n-1][1], next[1])
		} else {
			out = append(out, next)
		}
	}
	if len(out) <= maxVoidRanges {
		return out
	}
	// Close the smallest gaps, and the first of equal ones.
	gaps := make([]int, len(out)-1)
	for i := range gaps {
		gaps[i] = i
	}
	gap := func(i int) uint32 { return out[i+1][0] - out[i][1] }
	slices.SortStableFunc(gaps, func(a, b int) int { return int(int64(gap(a)) - int64(gap(b))) })
	joins := make([]bool, len(out)) // joined with the range after it
	for _, i := range gaps[:len(out)-maxVoidRanges] {
		joins[i] = true
	}
	all := out
	out = out[:0]
	for i, next := range all {
		if i > 0 && joins[i-1] {
			out[len(out)-1][1] = next[1]
		} else {
			out = append(out, next)
		}
	}
	return out
}

// rangesOf returns the set of all ids in ranges and ids, which may be in any
// order.
func rangesOf(ranges [][2]uint32, ids []uint32) idRanges {
	all := make(idRanges, 0, len(ranges)+len(ids))
	for _, r := range ranges {
		if r[0] <= r[1] {
			all = append(all, r)
		}
	}
	for _, id := range ids {
		all = append(all, [2]uint32{id, id})
	}
	slices.SortFunc(all, func(a, b [2]uint32) int { return int(int64(a[0]) - int64(b[0])) })
	return all.merged()
}
