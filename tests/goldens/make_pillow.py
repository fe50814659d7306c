"""Makes pillow.json: `python3 tests/goldens/make_pillow.py`.

What Pillow makes of noisy images by the operations of RandAugment: the RGB bytes of a small one in base64,
and the SHA-256 of a large one at every strength. Images are drawn from the integer hash that fill.ts repeats.

Needs Pillow and PyTorch (Debian: python3-pil, python3-torch).
"""

import base64
import hashlib
import json
import pathlib

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

import make

WIDTH, HEIGHT = 29, 23
FILL = (127, 127, 127)
make.SALT = "pillow"


def noise(width, height):
    """Every channel keeps to a range of its own: red 40 to 199, green 10 to 249, blue 90 to 149."""
    values = (make.hash32("image", width * height * 3) >> np.uint64(8)).reshape(height, width, 3)
    values = values % np.array([160, 240, 60], np.uint64) + np.array([40, 10, 90], np.uint64)
    return Image.fromarray(values.astype(np.uint8))


def moved(image, *matrix):
    return image.transform(image.size, Image.AFFINE, matrix, resample=Image.BILINEAR, fillcolor=FILL)


def colours(v):
    """Operations on colours at strength v of 10."""
    factor = v * 0.9 / 10 + 0.05
    return {
        "autoContrast": lambda x: ImageOps.autocontrast(x),
        "brightness": lambda x: ImageEnhance.Brightness(x).enhance(factor),
        "colour": lambda x: ImageEnhance.Color(x).enhance(factor),
        "contrast": lambda x: ImageEnhance.Contrast(x).enhance(factor),
        "equalize": lambda x: ImageOps.equalize(x),
        "posterize": lambda x: ImageOps.posterize(x, int(v * 4 / 10) + 4),
        "sharpness": lambda x: ImageEnhance.Sharpness(x).enhance(factor),
        "solarize": lambda x: ImageOps.solarize(x, 256 - int(v * 256 / 10)),
    }


def places(v):
    """Operations on places at strength v of 10."""
    share = v * 0.3 / 10
    return {
        "rotate": lambda x: x.rotate(int(v * 30 / 10), resample=Image.BILINEAR, fillcolor=FILL),
        "shearX": lambda x: moved(x, 1, share, 0, 0, 1, 0),
        "shearY": lambda x: moved(x, 1, 0, 0, share, 1, 0),
        "translateX": lambda x: moved(x, 1, 0, int(share * WIDTH), 0, 1, 0),
        "translateY": lambda x: moved(x, 1, 0, 0, 0, 1, int(share * HEIGHT)),
    }


def pixels_of(image):
    return base64.b64encode(image.tobytes()).decode()


def digest_of(data):
    return hashlib.sha256(data).hexdigest()


def every_auto_contrast():
    """The digest of what becomes of the ramps from a to b, for all a < b."""
    ramps = (Image.frombytes("L", (b - a + 1, 1), bytes(range(a, b + 1))) for a in range(256) for b in range(a + 1, 256))
    return digest_of(b"".join(ImageOps.autocontrast(ramp).tobytes() for ramp in ramps))


if __name__ == "__main__":
    small, large = noise(WIDTH, HEIGHT), noise(256, 192)
    golden = {
        "width": WIDTH,
        "height": HEIGHT,
        # Pillow's pixels, to see what is wrong.
        "colours": [[name, 4, pixels_of(change(small))] for name, change in colours(4).items()],
        "places": [[name, v, pixels_of(change(small))] for v in (2, 4, 9) for name, change in places(v).items()],
        # Their digests, to see that nothing is.
        "digests": [[name, v, digest_of(change(large).tobytes())] for v in range(1, 10) for name, change in colours(v).items()],
        "everyAutoContrast": every_auto_contrast(),
    }
    path = pathlib.Path(__file__).parent / "pillow.json"
    path.write_text(json.dumps({"version": 1, **golden}, indent=0) + "\n")
