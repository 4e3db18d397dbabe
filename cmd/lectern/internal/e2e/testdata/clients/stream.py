"""A viewer that reads an event stream with Python's own HTTP client: stream.py URL.

Each message is printed as {"text": ...} on a line of its own, and the end of the
room as {"closed": CODE, "reason": ...}.
"""

import http.client
import json
import sys
import time
import urllib.error
import urllib.request


def tell(event):
    print(json.dumps(event), flush=True)


def events(lines, state):
    """Read events as WHATWG HTML 9.2.6 says."""
    id, kind, data = state["id"], "", []
    for line in lines:
        if not line.endswith(b"\n"):
            return  # it is cut, perhaps within a character
        field, _, value = line.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            id = value
        elif field == "event":
            kind = value
        elif field == "data":
            data.append(value)
        elif field == "retry":
            state["retry"] = int(value) / 1000
        elif field == "" and value == "" and data:
            state["id"] = id
            yield kind, "\n".join(data)
            kind, data = "", []


def watch(url):
    state = {"id": "", "retry": 0.2}
    while True:
        request = urllib.request.Request(url, headers={"Last-Event-ID": state["id"]} if state["id"] else {})
        try:
            with urllib.request.urlopen(request) as response:
                for kind, data in events(response, state):
                    if kind == "closed" and '"shutdown"' in data:
                        continue
                    tell({"text": data})
                    if kind == "closed":
                        return tell({"closed": 4000, "reason": json.loads(data)["reason"]})
        except urllib.error.HTTPError as refused:
            return tell({"closed": refused.code, "reason": "refused"})
        except (OSError, http.client.HTTPException):
            pass  # there is no connection yet
        time.sleep(state["retry"])


watch(sys.argv[1])
