//go:build linux

package netpoll

// A queue is first in, first out. It gives back what a burst made it grow to.
type queue[T any] struct {
	items []T
	head  int // items[:head] were popped
}

// maxIdleQueue is the room, in elements, that an empty queue may keep.
const maxIdleQueue = 1024

func (q *queue[T]) len() int { return len(q.items) - q.head }

func (q *queue[T]) push(items ...T) { q.items = append(q.items, items...) }

// pop takes the oldest element. The queue must not be empty.
func (q *queue[T]) pop() T {
	var zero T
	item := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > maxIdleQueue {
			q.items = nil
		}
	case q.head >= maxIdleQueue && q.head > len(q.items)/2:
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return item
}
