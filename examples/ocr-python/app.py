"""A function that writes a text into an image with Pillow and has Tesseract read it: Debian packages, one of which is a
program."""

import io
import os
import subprocess

from PIL import Image, ImageDraw, ImageFont

PACKAGE = os.path.join(os.environ["LAMBDA_TASK_ROOT"], "package")
FONT = ImageFont.truetype(os.path.join(PACKAGE, "usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"), 36)
# Where Debian would have it, but for the folder.
os.environ["TESSDATA_PREFIX"] = os.path.join(PACKAGE, "usr/share/tesseract-ocr/5/tessdata")
# One processor, one thread.
os.environ["OMP_THREAD_LIMIT"] = "1"


def handler(event, context):
    image = draw(event["text"])
    read = subprocess.run(["tesseract", "stdin", "stdout", "--psm", "6"], input=image, capture_output=True, check=True)
    return {"read": read.stdout.decode().strip(), "bytes": len(image)}


def draw(text):
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, font=FONT)
    image = Image.new("L", (right - left + 40, bottom - top + 40), 255)
    ImageDraw.Draw(image).multiline_text((20 - left, 20 - top), text, font=FONT, fill=0)
    output = io.BytesIO()
    image.save(output, "PNG")
    return output.getvalue()
