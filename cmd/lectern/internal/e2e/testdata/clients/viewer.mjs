// A viewer that comes back when it is cut off: viewer.mjs URL CODE [numbered].
//
// Each message is printed as {"text": ...} on a line of its own, just as it came,
// and the end of the room as {"closed": CODE, "reason": ...}.

import WebSocket from "ws";

const [url, code, numbered] = process.argv.slice(2);
const join = { type: "join", code, numbered: numbered !== undefined };
const final = [4000, 4002, 4003]; // the room closed, kicked, replaced
const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");

// remember keeps in the join what the next one needs to go on from here.
function remember(message) {
  switch (message.type) {
    case "joined":
      join.token = message.token;
      join.epoch = message.epoch;
      join.seq = message.seq;
      break;
    case "skipped":
      join.seq = message.seq;
      break;
    case "command":
    case "activate":
    case "broadcast":
      join.seq = message.seq ?? join.seq + 1;
      break;
    case "error":
      throw new Error(message.message);
  }
}

function watch() {
  const connection = new WebSocket(url);
  connection.on("open", () => connection.send(JSON.stringify(join)));
  connection.on("message", (data) => {
    const text = data.toString();
    remember(JSON.parse(text));
    tell({ text });
  });
  connection.on("error", () => {}); // it closes, too
  connection.on("close", (code, reason) => {
    if (final.includes(code)) {
      tell({ closed: code, reason: reason.toString() });
    } else {
      setTimeout(watch, 50 + 200 * Math.random());
    }
  });
}

watch();
