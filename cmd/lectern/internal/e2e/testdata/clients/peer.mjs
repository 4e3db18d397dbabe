// A peer on Node's ws: peer.mjs URL.
//
// Each line of standard input is a JSON string, which is sent as a message. Each
// message that comes is printed as {"text": ...} on a line of its own, and the
// end of the connection as {"closed": CODE, "reason": ...}. The end of the input
// closes the connection.

import readline from "node:readline";
import WebSocket from "ws";

const connection = new WebSocket(process.argv[2]);
const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const lines = readline.createInterface({ input: process.stdin });
lines.pause();

connection.on("open", () => lines.resume());
lines.on("line", (line) => connection.send(JSON.parse(line)));
lines.on("close", () => connection.close());

connection.on("message", (data, binary) => {
  if (binary) throw new Error("a binary message");
  tell({ text: data.toString() });
});
connection.on("close", (code, reason) => {
  tell({ closed: code, reason: reason.toString() });
  process.exit();
});
