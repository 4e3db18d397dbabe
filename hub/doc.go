// Package hub holds the rooms, the sessions in them and the rules of the
// protocols they speak. It knows no sockets: a transport pushes the bytes that
// arrive into a [Session] and pulls out those that are due, and tells it the
// time. The whole relay can so run in memory.
//
// # Who owns what
//
// The connections are spread over workers; each session belongs to one of them
// for its life, and only that worker calls its methods. The hub keeps a shard
// for each worker, and each room an audience for each worker that has viewers of
// it. Everything else that sessions share, who is in a room, who is its host and
// the appending to its Log, is under the room's lock; the registry of rooms is
// under the hub's. Neither of the two is held while the other is taken. No
// session is touched but by its own worker: whoever wants something of another's
// posts it.
//
// # A broadcast
//
// The host's worker appends the message to the room's Log, once, and posts one
// task to each worker with viewers. That task, the audience's sweep, has each
// viewer's connection send what lies between its cursor and the Log's end.
package hub
