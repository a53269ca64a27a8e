#!/usr/bin/env python3
"""Measures how well ddddocr reads the captchas in a folder, for scripts/captcha.sh --ddddocr.

Prints a table: both models of ddddocr, and for each the pictures as they are and treated as people
treat them who try to read captchas by program. Exits with code 1 if a row exceeds MAX_PERCENT.
pip installs the packages of scripts/captcha.txt into target/captcha the first time.
Linux, Python 3.11 with venv."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "scripts" / "captcha.txt"
VENV = ROOT / "target" / "captcha"
MAX_PERCENT = 5.0
WAYS = ("as is", "doubled", "doubled, opened", "doubled, closed", "doubled, thresholded", "halves side by side")


def treated(picture: Path) -> Iterator[tuple[str, bytes]]:
    """The picture as PNG files, each with what was done to it."""
    import cv2

    grey = cv2.imread(str(picture), cv2.IMREAD_GRAYSCALE)
    doubled = cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    middle = grey.shape[0] // 2
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    ways = {
        "as is": grey,
        "doubled": doubled,
        "doubled, opened": cv2.morphologyEx(doubled, cv2.MORPH_OPEN, disc),
        "doubled, closed": cv2.morphologyEx(doubled, cv2.MORPH_CLOSE, disc),
        "doubled, thresholded": cv2.threshold(doubled, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1],
        "halves side by side": cv2.hconcat([grey[:middle], grey[middle:]]),
    }
    for way, pixels in ways.items():
        yield way, cv2.imencode(".png", pixels)[1].tobytes()


def read(pictures: list[Path]) -> Counter:
    """How many of the pictures each model reads in each way. The file's name has the answer."""
    import ddddocr

    models = {"default": ddddocr.DdddOcr(show_ad=False), "beta": ddddocr.DdddOcr(show_ad=False, beta=True)}
    right: Counter = Counter()
    for picture in pictures:
        answer = picture.stem.partition("-")[2]
        for way, content in treated(picture):
            for name, model in models.items():
                right[name, way] += model.classification(content).strip().lower() == answer
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="PNG files with names like 0001-answer.png")
    folder = parser.parse_args().folder
    harness.enter_venv(VENV, PACKAGES)
    pictures = sorted(folder.glob("*.png"))
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        counts = pool.map(read, [pictures[nth::workers] for nth in range(workers)])
        right = sum(counts, Counter())
    missed = False
    for model in ("default", "beta"):
        for way in WAYS:
            percent = 100 * right[model, way] / max(len(pictures), 1)
            verdict = "met" if percent <= MAX_PERCENT else "MISSED"
            missed |= percent > MAX_PERCENT
            row = f"percent read by ddddocr {model}, {way}"
            print(f"{row:<52} {percent:6.1f}  (target <= {MAX_PERCENT:.1f}: {verdict})")
    return int(missed or not pictures)


if __name__ == "__main__":
    sys.exit(main())
