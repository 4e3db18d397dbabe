// Package netpoll moves bytes between sockets and sessions: a reactor of a few
// workers, each with an epoll instance of its own. It knows nothing of
// WebSocket, rooms or messages, and it does not log.
//
// # Ownership
//
// A connection belongs to one [Worker] for its whole life. That worker alone
// reads it, writes it, changes its state and closes it, so a [Conn] and the
// [Session] on it need no locks. Everybody else reaches them by posting work to
// the worker with [Worker.Post], which never blocks.
//
// # The wake
//
// Sockets are registered once, edge-triggered, for reading, writing and
// hang-up. Every event is a hint only: what recv and send return counts. The
// callback of a socket marks its Conn ready and signals the worker's eventfd;
// that eventfd is registered in the same epoll, and its callback runs the
// worker's turn. Posts signal the same eventfd.
//
// # Transports
//
// Between a session and its socket there may be a [Transport], which makes records
// of the session's bytes. A worker seals one record at a time in memory of its own
// and sends it. A connection holds only what a full socket did not take of its last
// record, at most [MaxRest] bytes. A plain connection has no transport.
//
// # Leaving and coming back
//
// [Conn.Detach] makes a net.Conn of a connection, with its transport.
// [Detached.Attach] gives it back to a worker.
//
// # The turn
//
// A turn is cut into slices (sliceSends, sliceBytes, sliceTime). A task that
// has more to do than fits into one says so and is run again after everything
// else had its turn, so that a room of 20,000 viewers delays another room's
// three by milliseconds.
package netpoll
