// Package hub holds the rooms, the sessions in them and the rules that apply
// to them. It does not know sockets: a transport feeds the bytes that arrive to
// a [Session], takes the bytes that are due from it, and tells it the time. So
// the whole relay can run in memory. Nor does it know message formats: a
// [Dialect] turns messages into calls of a Session, and events into frames.
//
// # Ownership
//
// The connections are spread over workers. Each session belongs to one worker
// for its life, and only that worker calls its methods. Other goroutines post
// functions to that worker. The hub keeps a shard for each worker, and each room
// keeps an audience for each worker that has viewers of it.
//
// The lock of a room guards what its sessions share. What is guarded lives in
// parts, each with fields that only its own methods touch: the streams (the Logs),
// the host's slot, the roster, the presence, the number of viewers, the history,
// the pages of the list. The methods of Room say what can happen, across the
// parts; a method of a part expects that its caller holds the lock, or says that
// it takes it.
//
// # A broadcast
//
// The host's worker prepares what encodings share and takes long, such as
// compression; a goroutine does it for large messages. Then the worker appends the
// message to the room's Logs, once in each encoding that viewers read, and posts one task to each worker with viewers.
// That task, the audience's sweep, has each viewer's connection send what lies
// between its cursor and the end of its Log.
//
// # Locks
//
// A goroutine that holds a lock may take only these further locks:
//
//	holds                       may take
//	Room.mu                     changes.mu, a turnstile's mu, a worker's queue
//	store.Store.mu              changes.mu
//	changes.mu, the registry's mu, the addresses' mu,
//	the attempts' mu, the refusals' mu,
//	a turnstile's mu, a worker's queue,
//	the store's queue.mu and health.mu,
//	a pool's mu                                 none
//
// So no goroutine ever holds both Room.mu and Store.mu, nor the locks of two
// rooms, and no chain is longer than two locks. In particular:
//
//   - Hub.register and Hub.remove lock the registry, so their callers must not
//     hold a room's lock. A room is closed under its lock, and removed from the
//     registry after that.
//   - The store takes a Snapshot, which locks the room, without holding its own
//     lock. Under its own lock it reads the ends of Logs, which needs no lock.
//   - The attempts' mu and the refusals' mu are taken by a session's worker, or by an
//     HTTP handler, that holds no other lock.
//   - The turnstile of histories and backfills (Hub.encoders) queues work under
//     Room.mu and runs it without any lock. Pages of the list need no turnstile:
//     pages.get unlocks the room while it encodes.
//
// Encoding.Prepare and Encoding.Pack, which take long, run without any lock.
// Encoding.Broadcast and Dialect.AppendEvent may run under Room.mu, so they must
// not call methods that lock the room or the hub.
package hub
