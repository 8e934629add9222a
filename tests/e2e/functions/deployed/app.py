"""Run by its configuration, as a deployed function is."""

import os


def main(event, context):
    return {
        "folder": os.getcwd(),
        "file": __file__,
        "key": os.environ["KEY"],
        "handler": os.environ["_HANDLER"],
        "name": context.function_name,
        "stream": context.log_stream_name,
    }
