// Package frame is the WebSocket protocol (RFC 6455) and its compression
// (RFC 7692), server side, as values: bytes in, pieces, messages, verdicts and bytes out. It does no I/O, starts no
// goroutine, knows no time and no sockets, and does not log.
//
// # Layers
//
// A [Handshake] takes the first bytes of a connection and gives a verdict.
// After an upgrade the rest goes to an [Assembler], which hands out whole
// messages; inside it a [Decoder] cuts the bytes into frames, unmasked where
// they lie. Above both is the caller's session, which alone knows what a
// message means. Each layer accepts its input cut anywhere, and what it says
// does not depend on where that was:
//
//	for message := range assembler.Feed(chunk) { ... }
//	err := assembler.Err() // sticky: read after the loop
//
// No layer ever allocates what a peer merely declares, and none keeps a byte
// that it can pass on.
//
// # Errors
//
// Every error of a Decoder and an Assembler is an [*Error], which carries the
// close code that it deserves. They are final: no byte is looked at after one.
//
// # Encoding
//
// The AppendX functions write frames behind what a slice holds already. A
// server sends without a mask (RFC 6455 5.1); [AppendMasked] is the client's
// side, for tests and load generators.
//
// # Compression
//
// A Handshake agrees to permessage-deflate without context takeover, so neither
// side keeps anything between messages. The Assembler hands out compressed
// messages as they are; an [Inflater] makes plain ones of them. A [Deflater] makes
// the end of a message that any number of messages with other beginnings may
// share, see [AppendStored].
//
// The package stands on github.com/gobwas/ws for headers, opcodes, the mask and
// the upgrade's reply, and checks what that lets through, and on
// github.com/klauspost/compress for deflate.
package frame
