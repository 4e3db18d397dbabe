"""A peer on Python's websockets: peer.py URL.

Each line of standard input is a JSON string, which is sent as a message. Each
message that comes is printed as {"text": ...} on a line of its own, and the end
of the connection as {"closed": CODE, "reason": ...}. The end of the input closes
the connection.
"""

import asyncio
import json
import sys

import websockets


def tell(event):
    print(json.dumps(event), flush=True)


async def speak(connection):
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async for line in lines:
        await connection.send(json.loads(line))
    await connection.close()


async def main(url):
    connection = await websockets.connect(url, max_size=None)
    speaking = asyncio.create_task(speak(connection))
    try:
        while True:
            tell({"text": await connection.recv()})
    except websockets.ConnectionClosed:
        tell({"closed": connection.close_code, "reason": connection.close_reason})
    speaking.cancel()


asyncio.run(main(sys.argv[1]))
