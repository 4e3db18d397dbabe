// A viewer that reads an event stream with the package eventsource: stream.mjs URL.
//
// Each message is printed as {"text": ...} on a line of its own, and the end of the
// room as {"closed": CODE, "reason": ...}. EventSource reconnects by itself.

import { EventSource } from "eventsource";

const tell = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const source = new EventSource(process.argv[2]);
for (const type of ["joined", "command", "activate", "broadcast", "viewers", "history", "skipped", "error"]) {
  source.addEventListener(type, ({ data }) => data && tell({ text: data }));
}
source.addEventListener("closed", ({ data }) => {
  const { reason } = JSON.parse(data);
  if (reason === "shutdown") return;
  tell({ text: data });
  tell({ closed: 4000, reason });
  source.close();
});
source.addEventListener("error", ({ code }) => code && tell({ closed: code, reason: "refused" }));
