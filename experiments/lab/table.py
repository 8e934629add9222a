"""Tables in Markdown, and the numbers in them."""


def number(value, digits=1):
    """1234.56 -> "1,234.6"; what is text stays as it is; None is a dash."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,.{0 if isinstance(value, int) else digits}f}"


def significant(value):
    """A ratio, with about two digits that mean something: 0.063, 1.7, 24, 464."""
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.2g}"


def markdown(columns, rows, left=1):
    """`columns` are headings, the first `left` of them of text, the others of numbers. A row has a cell for each."""
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"the row {row!r} has {len(row)} cells for the {len(columns)} columns {columns!r}")
    rules = ["---" if place < left else "---:" for place in range(len(columns))]
    return "\n".join(_line(row) for row in [columns, rules, *rows]) + "\n"


def _line(cells):
    return "| " + " | ".join(number(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
