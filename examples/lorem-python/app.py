"""A function that writes lorem ipsum: {"n": 3} gives three sentences, the same three each time; a "seed" gives others."""

import random

import lorem

MOST_SENTENCES = 10_000


def handler(event, context):
    count = event["n"]
    if not isinstance(count, int) or not 0 <= count <= MOST_SENTENCES:
        raise ValueError(f"n must be a whole number from 0 to {MOST_SENTENCES}")
    source = random.Random(event.get("seed", count))
    return {"n": count, "text": lorem.sentences(count, source)}
