// Peers in a browser. The test evaluates this in a page of the relay's own origin, and
// then calls peer or viewer. What comes is told to lecternTell, as peer.mjs and
// viewer.mjs print it.

const tell = (event) => lecternTell(JSON.stringify(event));

// peer opens a connection. It returns functions that send a message and close it.
function peer(url) {
  const connection = new WebSocket(url);
  const opened = new Promise((resolve) => (connection.onopen = resolve));
  connection.onmessage = ({ data }) => tell({ text: data });
  connection.onclose = ({ code, reason }) => tell({ closed: code, reason });
  return {
    say: (text) => opened.then(() => connection.send(text)),
    leave: () => connection.close(),
  };
}

// viewer comes back when it is cut off.
function viewer(url, code, numbered) {
  const join = { type: "join", code, numbered };
  const final = [4000, 4002, 4003]; // the room closed, kicked, replaced
  function remember(message) {
    switch (message.type) {
      case "joined":
        Object.assign(join, { token: message.token, epoch: message.epoch, seq: message.seq });
        break;
      case "skipped":
        join.seq = message.seq;
        break;
      case "command":
      case "activate":
      case "broadcast":
        join.seq = message.seq ?? join.seq + 1;
        break;
    }
  }
  function watch() {
    const connection = new WebSocket(url);
    connection.onopen = () => connection.send(JSON.stringify(join));
    connection.onmessage = ({ data }) => {
      remember(JSON.parse(data));
      tell({ text: data });
    };
    connection.onclose = ({ code, reason }) => {
      if (final.includes(code)) tell({ closed: code, reason });
      else setTimeout(watch, 50 + 200 * Math.random());
    };
  }
  watch();
}

// streamViewer reads an event stream. The browser reconnects by itself.
function streamViewer(url) {
  const source = new EventSource(url);
  for (const type of ["joined", "command", "activate", "broadcast", "viewers", "history", "skipped"]) {
    source.addEventListener(type, ({ data }) => tell({ text: data }));
  }
  source.addEventListener("closed", ({ data }) => {
    const { reason } = JSON.parse(data);
    if (reason === "shutdown") return;
    tell({ text: data });
    tell({ closed: 4000, reason });
  });
  source.onerror = () => source.readyState === EventSource.CLOSED && tell({ closed: 1, reason: "the browser gives up" });
}
