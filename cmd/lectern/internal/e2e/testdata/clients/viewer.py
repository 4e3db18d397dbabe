"""A viewer that comes back when it is cut off: viewer.py URL CODE [numbered].

Each message is printed as {"text": ...} on a line of its own, just as it came,
and the end of the room as {"closed": CODE, "reason": ...}.
"""

import asyncio
import json
import random
import sys

import websockets

FINAL = (4000, 4002, 4003)  # the room closed, kicked, replaced


def tell(event):
    print(json.dumps(event), flush=True)


def remember(join, message):
    """Keep in the join what the next one needs to go on from here."""
    if message["type"] == "joined":
        join.update(token=message["token"], epoch=message["epoch"], seq=message["seq"])
    elif message["type"] == "skipped":
        join["seq"] = message["seq"]
    elif message["type"] in ("command", "activate", "broadcast"):
        join["seq"] = message.get("seq", join["seq"] + 1)
    elif message["type"] == "error":
        sys.exit(message["message"])


async def watch(url, join):
    while True:
        try:
            async with websockets.connect(url, max_size=None) as connection:
                await connection.send(json.dumps(join))
                async for text in connection:
                    remember(join, json.loads(text))
                    tell({"text": text})
        except websockets.ConnectionClosed as end:
            if end.code in FINAL:
                return tell({"closed": end.code, "reason": end.reason})
        except (OSError, websockets.WebSocketException):
            pass  # there is no connection yet
        await asyncio.sleep(random.uniform(0.05, 0.25))


url, code, *numbered = sys.argv[1:]
asyncio.run(watch(url, {"type": "join", "code": code, "numbered": bool(numbered)}))
