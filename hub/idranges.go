package hub

import (
	"slices"
	"sort"
)

// maxVoidRanges is how many ranges of void ids a room has at most.
const maxVoidRanges = 1024

// idRanges are ids, as sorted ranges from a first to a last one, with a gap
// between any two. They are never changed: who has got them may read on.
type idRanges [][2]uint32

// after returns the place of the first range that ends at the id or later.
func (r idRanges) after(id uint32) int {
	return sort.Search(len(r), func(i int) bool { return r[i][1] >= id })
}

// has reports whether the id is one of them.
func (r idRanges) has(id uint32) bool {
	i := r.after(id)
	return i < len(r) && r[i][0] <= id
}

// with returns the ids and one more. When there would be more than maxVoidRanges,
// the two with the smallest gap between them become one: the ids in the gap are
// then among them too.
func (r idRanges) with(id uint32) idRanges {
	if r.has(id) {
		return r
	}
	i := r.after(id)
	return append(slices.Clone(r[:i]), append(idRanges{{id, id}}, r[i:]...)...).merged()
}

// merged joins sorted ranges between which there is no id, and the closest ones
// until there are no more than there may be. It may change r.
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
	// The smallest gaps go, of equal ones the first.
	gaps := make([]int, len(out)-1)
	for i := range gaps {
		gaps[i] = i
	}
	gap := func(i int) uint32 { return out[i+1][0] - out[i][1] }
	slices.SortStableFunc(gaps, func(a, b int) int { return int(int64(gap(a)) - int64(gap(b))) })
	joins := make([]bool, len(out)) // with the range after it
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

// rangesOf returns ranges and single ids, in any order, as idRanges.
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
