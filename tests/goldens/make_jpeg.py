"""Writes jpeg.json: small JPEG files as Pillow encodes them, and their pixels as Pillow decodes them.

    python3 make_jpeg.py        (Pillow 9.4)
"""
import base64
import io
import json
import pathlib

from PIL import Image

WIDTH, HEIGHT = 21, 13


def text(data):
    return base64.b64encode(data).decode()


colours = Image.new("RGB", (WIDTH, HEIGHT))
colours.putdata([(12 * x, 19 * y, (37 * x * y) % 256) for y in range(HEIGHT) for x in range(WIDTH)])
files = {
    "baseline": (colours, {"quality": 90, "subsampling": 0}),
    "subsampled": (colours, {"quality": 75, "subsampling": 2}),
    "progressive": (colours, {"quality": 90, "progressive": True}),
    "restarts and a comment": (colours, {"quality": 80, "restart_marker_blocks": 1, "comment": b"\xff"}),
    "grey": (colours.convert("L"), {"quality": 90}),
    "cmyk": (colours.convert("CMYK"), {"quality": 90}),
}
golden = {}
for name, (image, options) in files.items():
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    pixels = Image.open(stream).convert("RGB").tobytes()
    golden[name] = {"file": text(stream.getvalue()), "pixels": text(pixels)}
golden = {"width": WIDTH, "height": HEIGHT, "files": golden}
pathlib.Path(__file__).with_name("jpeg.json").write_text(json.dumps(golden, indent=1) + "\n")
