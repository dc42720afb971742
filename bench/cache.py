"""Time and peak memory of `rekindle train` on few and on many photos, with nothing kept and with everything kept.

Makes folders of synthetic JPEGs (two classes, noise over a colour; 96×72 pixels), trains a head on each twice, and
prints a table. The first run decodes every photo and asks the network; the second finds all features on the disk. Time
should grow with the number of photos and memory by no more than the features themselves (4 bytes a number).

Needs a release build of `rekindle` and Python with Pillow and NumPy. Peak memory is what the system says of the whole
process (ru_maxrss, Linux's VmHWM).

    cargo build --release && python3 bench/cache.py              # 1 000 and 10 000 photos: minutes
    python3 bench/cache.py --photos 1000 10000 50000
"""

import argparse
import os
import pathlib
import re
import subprocess
import tempfile
import time

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent


def photos(folder, count):
    """`count` JPEGs in two classes."""
    random = np.random.default_rng(14)
    for name in ("green", "red"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        name, colour = (("green", (60, 160, 70)), ("red", (170, 70, 60)))[number % 2]
        coarse = random.normal(0, 50, (9, 12, 3)) + colour
        pixels = Image.fromarray(coarse.clip(0, 255).astype(np.uint8)).resize((96, 72), Image.BICUBIC)
        pixels.save(folder / name / f"{number:06}.jpg", quality=90)


def run(command, environment):
    """Seconds, peak memory in bytes, and what was said."""
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode(errors="replace")
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text}")
    return seconds, usage.ru_maxrss * 1024, text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rekindle", default=ROOT / "target/release/rekindle")
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--input", default="64")
    options = parser.parse_args()
    print(f"{options.model} at {options.input} px, processor, {len(os.sched_getaffinity(0))} cores")
    print(f"{'photos':>7}  {'run':<9} {'seconds':>8} {'ms a photo':>11} {'peak MB':>8} {'kept MB':>8}  of them known")
    for count in options.photos:
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            photos(scratch / "photos", count)
            environment = os.environ | {
                "XDG_CACHE_HOME": str(scratch / "cache"),
                "REKINDLE_ASSETS": str(ROOT / "assets"),
            }
            command = [options.rekindle, "train", scratch / "photos", "--model", options.model, "--input", options.input]
            command += ["--device", "cpu", "--offline", "--out", scratch / "runs"]
            for name, more in (("no cache", ["--no-cache"]), ("first", []), ("second", [])):
                seconds, peak, said = run([*command, "--name", name, *more], environment)
                kept = sum(file.stat().st_size for file in (scratch / "cache").rglob("*") if file.is_file())
                known = re.search(r"\((\d+) known from before\)", said)
                known = int(known.group(1)) if known else 0
                print(
                    f"{count:>7}  {name:<9} {seconds:>8.1f} {1000 * seconds / count:>11.2f} {peak / 1e6:>8.0f}"
                    f" {kept / 1e6:>8.1f}  {known}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
