"""Answers SQL queries about a small database that comes with the function. It is opened when the function is loaded, so
that a snapshot of the function has it ready."""

import pathlib
import sqlite3


def open_database():
    # In memory: the function's folder is read only. A restored microVM has a copy of its own.
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.executescript((pathlib.Path(__file__).parent / "mountains.sql").read_text())
    database.execute("PRAGMA query_only = ON")
    database.row_factory = sqlite3.Row
    return database


DATABASE = open_database()


def handle(event):
    rows = DATABASE.execute(event["query"], event.get("parameters", [])).fetchall()
    return {"columns": rows[0].keys() if rows else [], "rows": [list(row) for row in rows]}
