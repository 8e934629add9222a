"""Lorem ipsum, a small package of its own, as a function would bring one along."""

from lorem.words import WORDS


def sentence(source):
    """One sentence of 6 to 12 words, drawn from `source`, a random.Random."""
    words = source.choices(WORDS, k=source.randint(6, 12))
    return " ".join(words).capitalize() + "."


def sentences(count, source):
    return " ".join(sentence(source) for _ in range(count))
