"""Compresses a text by the ways that Python's standard library has, and checks that each gives the text again."""

import base64
import bz2
import gzip
import lzma
import zlib

METHODS = {
    # Without a time stamp: the same text gives the same bytes.
    "gzip": (lambda data: gzip.compress(data, mtime=0), gzip.decompress),
    "zlib": (lambda data: zlib.compress(data, 9), zlib.decompress),
    "bz2": (bz2.compress, bz2.decompress),
    "xz": (lzma.compress, lzma.decompress),
}


def handle(event):
    data = (event["text"] * event.get("repeat", 1)).encode()
    answer = {"bytes": len(data), "crc32": zlib.crc32(data), "methods": {}}
    for name in event.get("methods", METHODS):
        compress, decompress = METHODS[name]
        packed = compress(data)
        answer["methods"][name] = {"smaller": len(packed) < len(data), "same_again": decompress(packed) == data}
        if event.get("with_data"):
            answer["methods"][name]["base64"] = base64.b64encode(packed).decode("ascii")
    return answer
