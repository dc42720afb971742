#!/usr/bin/env python3
"""Writes the small weight files that core/tests/weights.rs reads, and what they hold.

The truth is PyTorch's and safetensors' own: the files are written by torch.save and save_file, and
the expected values are what torch.load and load_file give back. Versions: torch 2.15.0,
safetensors 0.8.0 (see requirements.txt). Run from anywhere:

    python3 tests/parity/make_weight_fixtures.py
"""

import argparse
import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file, save_file

OUT = Path(__file__).resolve().parents[2] / "core" / "tests" / "fixtures" / "weights"


def ramp(*shape, dtype=torch.float32):
    """Different values everywhere, exact in every float type."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) - count // 2) * 0.25).to(dtype).reshape(shape)


def block():
    """A state dict as a module gives it: parameters' data, buffers, a 0-dim counter, `_metadata`."""
    module = torch.nn.Sequential(OrderedDict(bn=torch.nn.BatchNorm2d(2)))
    module.bn.running_mean.copy_(torch.tensor([0.1, -0.3]))
    module.bn.num_batches_tracked += 7
    return module.state_dict()


def layouts():
    """Views of all kinds over few storages."""
    base = ramp(4, 6)
    tied = ramp(3)
    return {
        "whole": base,
        "transposed": base.t(),
        "stepped": base[1::2, ::3],
        "shifted": base[2:],
        "column": base[:, 4],
        "permuted": ramp(2, 3, 2).permute(2, 0, 1),
        "tied.a": tied,
        "tied.b": tied,
        "expanded": torch.tensor([1.5, -2.0])[:, None].expand(2, 3),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "odd_stride": torch.as_strided(ramp(4), (1, 2), (99, 2), 1),
    }


def dtypes():
    ints = [torch.int64, torch.int32, torch.int16, torch.int8]
    floats = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    tensors = {str(dtype)[6:]: ramp(5, dtype=dtype) for dtype in floats}
    tensors |= {str(dtype)[6:]: torch.tensor([-100, -1, 0, 1, 100], dtype=dtype) for dtype in ints}
    tensors["uint8"] = torch.tensor([0, 1, 200, 255], dtype=torch.uint8)
    tensors["bool"] = torch.tensor([True, False, True])
    return tensors


def checkpoint(key):
    """What training scripts save: the weights under a key, among much else."""
    parameter = torch.nn.Parameter(ramp(2, 2))
    tagged = torch.nn.Parameter(ramp(3))
    tagged.note = "an attribute of its own"
    weights = OrderedDict([("module.fc.weight", parameter), ("module.fc.bias", tagged)])
    optimiser = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    return {
        "epoch": 3,
        key: weights,
        "best_acc1": torch.tensor(76.5),
        "optimizer": optimiser.state_dict(),
        "args": argparse.Namespace(lr=0.1, milestones=[30, 60], name="süß"),
        "numpy": numpy.float64(0.5),
        "tags": {"a", "b"},
        "big": 2**70,
    }


class Hostile:
    def __reduce__(self):
        return (os.system, ("echo the pickle was run",))


def contents(path):
    if path.suffix == ".safetensors":
        return load_file(path)
    loaded = torch.load(path, weights_only=False)
    for key in ("state_dict", "model"):
        loaded = loaded.get(key, loaded)
    return loaded


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    zip_, legacy = {}, {"_use_new_zipfile_serialization": False}
    torch.save(block(), OUT / "block_zip.pth", **zip_)
    torch.save(block(), OUT / "block_legacy.pth", **legacy)
    torch.save(layouts(), OUT / "layouts_zip.pth", pickle_protocol=4, **zip_)
    torch.save(layouts(), OUT / "layouts_legacy.pth", **legacy)
    torch.save(dtypes(), OUT / "dtypes_legacy.pth", **legacy)
    torch.save(checkpoint("state_dict"), OUT / "checkpoint_zip.pth", **zip_)
    torch.save(checkpoint("model"), OUT / "checkpoint_legacy.pth", **legacy)
    torch.serialization.set_crc32_options(False)
    torch.save({"weight": ramp(4)}, OUT / "unchecked_zip.pth", **zip_)
    torch.serialization.set_crc32_options(True)
    save_file(
        dtypes(),
        OUT / "dtypes.safetensors",
        metadata={"kind": "fixture"},
    )

    # What a file holds goes by the first part of its name: the same in every format.
    expected = {}
    for path in sorted(OUT.iterdir()):
        held = {
            name: {
                "dtype": str(t.dtype).removeprefix("torch."),
                "shape": list(t.shape),
                "values": t.detach().float().flatten().tolist(),
            }
            for name, t in contents(path).items()
        }
        assert expected.setdefault(path.stem.split("_")[0], held) == held, path
    (OUT / "expected.json").write_text(json.dumps(expected, separators=(",", ":"), sort_keys=True) + "\n")

    # Not loaded back, for that would run them.
    torch.save({"weight": ramp(4), "extra": Hostile()}, OUT / "hostile_zip.pth", **zip_)
    torch.save({"weight": ramp(4), "extra": Hostile()}, OUT / "hostile_legacy.pth", **legacy)
    (OUT / "hostile.pkl").write_bytes(pickle.dumps(Hostile(), protocol=2))
    torch.save({"weight": ramp(4).to_sparse()}, OUT / "sparse_legacy.pth", **legacy)
    torch.save({"weight": torch.zeros(2, dtype=torch.complex64)}, OUT / "complex_legacy.pth", **legacy)
    # One element that claims to be 10^15.
    torch.save({"weight": torch.zeros(1).expand(10**15)}, OUT / "expanded_legacy.pth", **legacy)

    for path in OUT.iterdir():
        path.chmod(0o644)
    total = sum(path.stat().st_size for path in OUT.iterdir())
    print(f"{len(list(OUT.iterdir()))} files, {total} bytes in {OUT.relative_to(OUT.parents[3])}")


if __name__ == "__main__":
    main()
