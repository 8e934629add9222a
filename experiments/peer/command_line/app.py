"""Says which command line its kernel was started with: a peer's guest gets the same."""


def handle(event):
    with open("/proc/cmdline", encoding="ascii") as file:
        return file.read().strip()
