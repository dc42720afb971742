"""Time and peak memory of `rekindle train` on few and on many photos, with nothing kept and with everything kept.

Makes folders of synthetic JPEGs (two classes, noise over a colour; 96×72 pixels), trains on each twice, and prints a
table. The first run decodes every photo and asks the network; the second finds all it made of them on the disk. Time
should grow with the number of photos, and memory by no more than the features themselves (4 bytes a number) and what
says which photo is which. With `--tune last` the last two stages are trained, too, from values in 16 bits on the disk:
a view of each photo for each epoch, eight at most.

The last line says what memory grew by, between the smallest and the largest folder, for each photo and view, and how
the peak lies to what was there and 5 kB for each photo and view more.

Needs a release build of `rekindle` and Python with Pillow and NumPy. Peak memory is what Linux says of the process
(VmHWM), when the features are there and at the end. Beside the seconds that pass stand those that cores were busy for
it, in all and in milliseconds for each photo: what else a machine has to do lengthens only the former.

    cargo build --release && python3 bench/cache.py              # 1 000 and 10 000 photos: minutes
    python3 bench/cache.py --photos 1000 10000 50000 --extraction
    python3 bench/cache.py --photos 1000 10000 50000 --tune last --epochs 8 --runs first
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


def peak(process):
    """The most memory that a running process has held, in bytes (VmHWM)."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status).group(1))


def busy(process):
    """Seconds that a running process has kept cores busy, its own and the system's for it."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(command, environment, extraction):
    """Seconds, those that cores were busy, and peak memory in bytes until the features are there, then until the end,
    and what was said of the features. With `extraction` the program is ended as soon as they are there."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True)
    said, read, features = [], "", (0.0, 0.0, 0)
    for line in process.stderr:
        said.append(line)
        if re.match(r"features: \d+ read", line):
            read, features = line, (time.perf_counter() - started, busy(process), peak(process))
            if extraction:
                process.kill()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    whole = (time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
    if not read or (process.returncode != 0 and not extraction):
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{''.join(said)}")
    return features, whole, read


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rekindle", default=ROOT / "target/release/rekindle")
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--extraction", action="store_true", help="end each run when the features are there")
    parser.add_argument("--tune", default="head", help="what trains: head, last")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of --tune last")
    parser.add_argument("--runs", nargs="+", choices=["no-cache", "first", "second"], default=["no-cache", "first", "second"])
    parser.add_argument("--scratch", help="folder for photos and values; the system's own for such files")
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--input", default="64")
    options = parser.parse_args()
    print(f"{options.model} at {options.input} px, processor, {len(os.sched_getaffinity(0))} cores")
    print(
        f"{'photos':>7}  {'run':<9} {'features s':>10} {'busy s':>8} {'ms each':>8} {'peak MB':>8}"
        f"  {'whole s':>8} {'busy s':>8} {'ms each':>8} {'peak MB':>8}  kept MB, known"
    )
    peaks = {}
    for count in options.photos:
        with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
            scratch = pathlib.Path(scratch)
            photos(scratch / "photos", count)
            environment = os.environ | {
                "XDG_CACHE_HOME": str(scratch / "cache"),
                "REKINDLE_ASSETS": str(ROOT / "assets"),
            }
            command = [options.rekindle, "train", scratch / "photos", "--model", options.model, "--input", options.input]
            command += ["--device", "cpu", "--offline", "--out", scratch / "runs"]
            if options.tune != "head":
                command += ["--tune", options.tune, "--epochs", str(options.epochs)]
            for name in options.runs:
                more = ["--no-cache"] if name == "no-cache" else []
                features, whole, said = run([*command, "--name", name, *more], environment, options.extraction)
                kept = sum(file.stat().st_size for file in (scratch / "cache").rglob("*") if file.is_file())
                known = re.search(r"\((\d+) known from before\)", said)
                print(
                    f"{count:>7}  {name:<9} {features[0]:>10.1f} {features[1]:>8.1f} {1000 * features[1] / count:>8.2f}"
                    f" {features[2] / 1e6:>8.0f}  {whole[0]:>8.1f} {whole[1]:>8.1f} {1000 * whole[1] / count:>8.2f}"
                    f" {whole[2] / 1e6:>8.0f}  {kept / 1e6:.1f}, {known.group(1) if known else 0}",
                    flush=True,
                )
                peaks.setdefault(name, {})[count] = whole[2]
    views = 1 if options.tune == "head" else min(8, options.epochs)
    few, many = min(options.photos), max(options.photos)
    for name, peak_of in peaks.items():
        if few < many and not options.extraction:
            more = (many - few) * views
            bound = peak_of[few] + 5000 * more
            print(f"{name}: {(peak_of[many] - peak_of[few]) / more:.0f} bytes more for each photo and view; peak / bound {peak_of[many] / bound:.2f}")


if __name__ == "__main__":
    main()
