"""Groups records by one of their members and adds up another, with a filter before: what many functions between two
systems do."""


def value_at(record, path):
    """The member that a path like "address.city" names; None where there is none."""
    for key in path.split("."):
        record = record.get(key) if isinstance(record, dict) else None
    return record


def matches(record, conditions):
    return all(value_at(record, path) == wanted for path, wanted in conditions.items())


def handle(event):
    groups = {}
    kept = 0
    for record in event["records"]:
        if not matches(record, event.get("where", {})):
            continue
        kept += 1
        group = groups.setdefault(str(value_at(record, event["group_by"]) or "(none)"), {"count": 0, "sum": 0})
        group["count"] += 1
        group["sum"] += value_at(record, event["sum"]) or 0
    return {"records": kept, "groups": {name: groups[name] for name in sorted(groups)}}
