"""Takes its own kernel down."""


def handle(event):
    with open("/proc/sysrq-trigger", "w", encoding="ascii") as trigger:
        trigger.write("c")
    return "still here"
