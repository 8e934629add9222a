"""The request channel as a host sees it (docs/guest_contract.md), and waiting for what a program does."""

import select
import time


class PeerFailed(Exception):
    """A peer did not do what was asked of it; the text says what it did."""


def frame(kind, payload):
    payload = payload.encode()
    return b"%s %d\n" % (kind.encode(), len(payload)) + payload


class ChannelClosed(PeerFailed):
    """The other side ended the stream."""


class Channel:
    """Frames over a stream: `source` is anything with fileno() and recv(), `ended` says why nothing comes any more."""

    def __init__(self, source, ended=lambda: "its channel was closed"):
        self._source = source
        self._ended = ended
        self._bytes = b""

    def answer(self, seconds):
        """The next frame: its kind and payload. PeerFailed where none comes in time."""
        deadline = time.monotonic() + seconds
        while True:
            header, line, rest = self._bytes.partition(b"\n")
            if line:
                kind, _, size = header.partition(b" ")
                if not size.isdigit():
                    raise PeerFailed(f"the guest sent {header[:80]!r} where a frame was due")
                if len(rest) >= int(size):
                    self._bytes = rest[int(size):]
                    return kind.decode(), rest[:int(size)].decode()
            self._read_until(deadline)

    def _read_until(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._source], [], [], left)[0]:
            raise PeerFailed("no answer in time")
        try:
            got = self._source.recv(65536)
        except ConnectionError:
            got = b""
        if not got:
            raise ChannelClosed(self._ended())
        self._bytes += got


def result_of(channel, seconds):
    """The function's answer; PeerFailed where it is an error."""
    kind, payload = channel.answer(seconds)
    if kind != "result":
        raise PeerFailed(f"the function answered with {kind}: {payload[:300]}")
    return payload


def milliseconds(since):
    return round((time.monotonic() - since) * 1000, 3)
