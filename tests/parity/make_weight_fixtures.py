#!/usr/bin/env python3
"""Writes the small weight files that networks/tests/weights reads, and what they hold.

The truth is PyTorch's and safetensors' own: the files are written by torch.save and save_file, and
the expected values are what torch.load and load_file give back. Versions: torch 2.15.0,
safetensors 0.8.0 (see requirements.txt). Run from anywhere:

    python3 tests/parity/make_weight_fixtures.py
"""

import argparse
import datetime
import enum
import functools
import json
import os
import pickle
import random
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path, PurePosixPath

import numpy
import torch
from safetensors.torch import load_file, save_file

OUT = Path(__file__).resolve().parents[2] / "networks" / "tests" / "fixtures" / "weights"


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


class Mode(enum.Enum):
    FAST = 1


class Settings(dict):
    """A dictionary with attributes, such as configuration libraries make."""


class Odd:
    """What a training script of one's own may leave in its checkpoint."""

    class Inner:
        pass

    def __init__(self):
        self.items = [Mode.FAST, {"when": datetime.datetime(2026, 11, 26)}, self]
        self.norm = functools.partial(torch.nn.BatchNorm2d, eps=1e-3)
        self.inner = Odd.Inner()
        self.bound = self.items.count
        self.path = PurePosixPath("a/b")


class Learner:
    """Stands for fastai's, which `learn.export` pickles whole."""

    def __init__(self, model):
        self.model, self.dls = model, None


def net():
    """A network of a few numbers, with a buffer that is not saved."""
    module = torch.nn.Sequential(
        OrderedDict(conv=torch.nn.Conv2d(1, 2, 1), block=torch.nn.Sequential(torch.nn.BatchNorm2d(2)))
    )
    module.register_buffer("positions", ramp(3), persistent=False)
    module.register_buffer("scale", ramp(2))
    with torch.no_grad():
        module.conv.weight.copy_(ramp(2, 1, 1, 1))
        module.conv.bias.copy_(ramp(2))
        module.block[0].running_mean.copy_(torch.tensor([0.1, -0.3]))
    return module


class Held(torch.nn.Module):
    """Holds tensors."""


def modules():
    """The same network's tensors in modules of our own."""
    root = Held()
    for name, tensor in net().state_dict().items():
        *parents, leaf = name.split(".")
        at = root
        for parent in parents:
            if parent not in at._modules:
                at.add_module(parent, Held())
            at = at._modules[parent]
        if leaf in ("weight", "bias"):
            at.register_parameter(leaf, torch.nn.Parameter(tensor))
        else:
            at.register_buffer(leaf, tensor)
    root.register_buffer("positions", ramp(3), persistent=False)
    return root


def prefixed(weights, prefix):
    return OrderedDict((prefix + name, tensor) for name, tensor in weights.items())


def strange_tensors():
    """Kinds that are not read, where they are not needed."""
    return {
        "sparse": torch.eye(2).to_sparse(),
        "complex": torch.zeros(2, dtype=torch.complex64),
        "conjugated": torch.zeros(2, dtype=torch.complex64).conj(),
        "short": torch.zeros(2, dtype=torch.uint16),
        "tiny": torch.zeros(4, dtype=torch.float8_e4m3fn),
        "quantised": torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.quint8),
    }


def lightning():
    """What Lightning saves, with more odd things among the hyper-parameters than any one script has."""
    module = net()
    optimiser = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 1, 1, 2)).sum().backward()
    optimiser.step()
    module.load_state_dict(net().state_dict())
    settings = Settings(lr=0.1)
    settings.frozen = True
    weights = prefixed(module.state_dict(), "model.")
    weights["criterion.weight"] = ramp(3)
    weights |= prefixed({name: 0 * t for name, t in net().state_dict().items()}, "ema_model.module.")
    return {
        "epoch": 4,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": weights,
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.25)}},
        "optimizer_states": [optimiser.state_dict()],
        "lr_schedulers": [],
        "hyper_parameters": {
            "mode": Mode.FAST,
            "odd": Odd(),
            "args": argparse.Namespace(lr=0.1),
            "settings": settings,
            "lists": defaultdict(list, a=[1]),
            "counts": Counter("aab"),
            "last": deque([1, 2]),
            "numpy": [numpy.float32(3), numpy.arange(3), numpy.random.RandomState(1).get_state()[0]],
            "random": random.Random(1).getstate()[0],
            "act": torch.nn.ReLU(),
            "relu": torch.nn.functional.relu,
            "rest": [torch.device("cpu"), torch.bfloat16, torch.Size([3]), 1 + 2j, 2**100, b"a", {1, 2}],
            "path": "not UTF-8: \udc80",
            **strange_tensors(),
        },
    }


def timm():
    """What timm's training script saves."""
    weights = net().state_dict()
    return {
        "epoch": 1,
        "arch": "net",
        "state_dict": weights,
        "args": argparse.Namespace(model="net", lr=1e-3, mode=Mode.FAST),
        "amp_scaler": {"scale": 65536.0},
        "state_dict_ema": {name: 0 * tensor for name, tensor in weights.items()},
        "metric": 70.1,
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
        if old.is_file():
            old.unlink()
    # Files of the old layout hold the source of every module's class and where it was: not this machine's.
    torch.serialization.get_source_lines_and_file = lambda _: (["class Made: ..."], 1, "made.py")
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
    for path in sorted(path for path in OUT.iterdir() if path.is_file()):
        held = {
            name: {
                "dtype": str(t.dtype).removeprefix("torch."),
                "shape": list(t.shape),
                "values": t.detach().float().flatten().tolist(),
            }
            for name, t in contents(path).items()
        }
        assert expected.setdefault(path.stem.split("_")[0], held) == held, path
    expected["net"] = {
        name: {
            "dtype": str(t.dtype).removeprefix("torch."),
            "shape": list(t.shape),
            "values": t.float().flatten().tolist(),
        }
        for name, t in net().state_dict().items()
    }
    (OUT / "expected.json").write_text(json.dumps(expected, separators=(",", ":"), sort_keys=True) + "\n")

    # Checkpoints: what is wanted of each is the network's state dict, `net` in the truth.
    torch.save(lightning(), OUT / "lightning_zip.ckpt", **zip_)
    torch.save(lightning(), OUT / "lightning_legacy.ckpt", **legacy)
    torch.save(lightning(), OUT / "lightning_new_zip.ckpt", pickle_protocol=5, **zip_)
    torch.save(timm(), OUT / "timm_legacy.pth", **legacy)
    torch.save(net(), OUT / "module_zip.pth", **zip_)
    torch.save(modules(), OUT / "module_legacy.pth", **legacy)
    torch.save({"model": modules(), "ema": modules().half()}, OUT / "modules_legacy.pt", **legacy)
    averaged = torch.optim.swa_utils.AveragedModel(net())
    torch.save(averaged.state_dict(), OUT / "averaged_legacy.pth", **legacy)
    torch.save({"model": net().state_dict(), "opt": {"state": [{}], "hypers": [{"lr": 0.1}]}}, OUT / "fastai_legacy.pth", **legacy)
    torch.save(Learner(modules()), OUT / "learner_legacy.pkl", **legacy)

    # Not loaded back, for that would run them.
    torch.save({"weight": ramp(4), "extra": Hostile()}, OUT / "hostile_zip.pth", **zip_)
    torch.save({"weight": ramp(4), "extra": Hostile()}, OUT / "hostile_legacy.pth", **legacy)
    (OUT / "hostile.pkl").write_bytes(pickle.dumps(Hostile(), protocol=2))
    torch.save({"weight": ramp(4).to_sparse()}, OUT / "sparse_legacy.pth", **legacy)
    torch.save({"weight": torch.zeros(2, dtype=torch.complex64)}, OUT / "complex_legacy.pth", **legacy)
    # One element that claims to be 10^15.
    torch.save({"weight": torch.zeros(1).expand(10**15)}, OUT / "expanded_legacy.pth", **legacy)

    files = [path for path in OUT.iterdir() if path.is_file()]
    for path in files:
        path.chmod(0o644)
    total = sum(path.stat().st_size for path in files)
    print(f"{len(files)} files, {total} bytes in {OUT.relative_to(OUT.parents[3])}")


if __name__ == "__main__":
    main()
