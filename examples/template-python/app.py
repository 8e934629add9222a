"""Writes an HTML page of an order from a template beside the function. Whatever the event holds is escaped."""

import decimal
import html
import pathlib
import string

FOLDER = pathlib.Path(__file__).parent


def read_template(name):
    return string.Template((FOLDER / name).read_text())


PAGE = read_template("page.html")
ROW = read_template("row.html")


def escaped(values):
    return {key: html.escape(str(value)) for key, value in values.items()}


def handle(event):
    total = decimal.Decimal(0)
    rows = []
    for item in event["items"]:
        price = decimal.Decimal(str(item["price"])) * item["count"]
        total += price
        rows.append(ROW.substitute(escaped({"name": item["name"], "count": item["count"], "price": f"{price:.2f}"})))
    page = PAGE.substitute(escaped({"customer": event["customer"], "total": f"{total:.2f}"}), rows="".join(rows))
    return {"statusCode": 200, "headers": {"Content-Type": "text/html; charset=utf-8"}, "body": page}
