"""Says how a text feels: each word that the lexicon knows counts, more behind "very", the other way round behind
"not"."""

import pathlib
import re

WORD = re.compile(r"[a-z']+")
NEGATIONS = {"not", "no", "never", "cannot", "without"}
STRENGTHS = {"very": 1.5, "really": 1.5, "extremely": 2.0, "slightly": 0.5, "somewhat": 0.7}
# How many words back a negation reaches.
REACH = 3


def read_lexicon():
    """Lines of a word and its value, -3 to 3."""
    lines = (pathlib.Path(__file__).parent / "lexicon.txt").read_text().splitlines()
    return {word: int(value) for word, value in (line.split() for line in lines if line and line[0] != "#")}


LEXICON = read_lexicon()


def is_negation(word):
    return word in NEGATIONS or word.endswith("n't")


def score_of(words):
    score = 0.0
    for place, word in enumerate(words):
        value = LEXICON.get(word, 0)
        if not value:
            continue
        if place > 0:
            value *= STRENGTHS.get(words[place - 1], 1.0)
        if any(is_negation(before) for before in words[max(0, place - REACH) : place]):
            value *= -0.5
        score += value
    return score


def handle(event):
    sentences = [part.strip() for part in re.split(r"(?<=[.!?])\s+", event["text"]) if part.strip()]
    scores = [score_of(WORD.findall(sentence.lower())) for sentence in sentences]
    total = sum(scores)
    return {
        "sentiment": "positive" if total > 0.5 else "negative" if total < -0.5 else "neutral",
        "score": round(total, 3),
        "sentences": [{"text": text, "score": round(score, 3)} for text, score in zip(sentences, scores)],
    }
