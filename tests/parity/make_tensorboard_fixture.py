#!/usr/bin/env python3
"""Writes native/src/tensorboard/pytorch.tfevents: an event file as PyTorch's SummaryWriter writes it.

    python3 tests/parity/make_tensorboard_fixture.py

Pinned: torch 2, tensorboard 2.21. The clock is stopped, so that the bytes are the same every time.
"""

import tempfile
import time
from pathlib import Path

time.time = lambda: 1_700_000_000.25

from torch.utils.tensorboard import SummaryWriter  # noqa: E402  (after the clock is stopped)

OUT = Path(__file__).resolve().parents[2] / "native/src/tensorboard/pytorch.tfevents"
with tempfile.TemporaryDirectory() as folder:
    writer = SummaryWriter(folder, purge_step=300)
    writer.add_scalar("loss/training", 0.1, 0)
    writer.add_scalar("accuracy/held_out", 1.0, 7)
    writer.add_scalar("learning_rate", -5e-4, 1 << 40)
    writer.close()
    (file,) = Path(folder).iterdir()
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(file.read_bytes())
print(OUT, OUT.stat().st_size)
