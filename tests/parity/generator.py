"""Generated weights: the same tensors in Python and in Rust, from nothing but their names.

A tensor's values depend on its name and shape alone, so a golden needs no weight file: both
sides fill the network by name and must then compute the same numbers.

* seed: FNV-1a, 64 bits, of the UTF-8 name;
* element i (row-major): the i-th `uniform()` of SplitMix64 started at that seed, u in [0, 1) with
  24 bits, exact in f32;
* u becomes a value by the tensor's role (see `tensor`), every step rounded to f32.

Run as a script it writes tests/goldens/generator.json, which the Rust side is tested against.

Versions: see requirements.txt beside this file (numpy alone here).
"""

import json
import math
import pathlib

import numpy as np

GOLDENS = pathlib.Path(__file__).resolve().parent.parent / "goldens"

FNV_OFFSET = 0xCBF29CE484222325
FNV_PRIME = 0x00000100000001B3
GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
MASK_64 = (1 << 64) - 1

# Roles that the last part of a tensor's name tells, whatever its rank.
CONSTANTS = {"num_batches_tracked", "relative_position_index", "relative_coords_table"}
EMBEDDINGS = {
    "class_token",
    "cls_token",
    "pos_embedding",
    "pos_embed",
    "relative_position_bias_table",
}
SCALES = {"layer_scale", "gamma"}


def seed_of(name: str) -> int:
    """FNV-1a (64 bits) of the name's UTF-8 bytes."""
    value = FNV_OFFSET
    for byte in name.encode("utf-8"):
        value = ((value ^ byte) * FNV_PRIME) & MASK_64
    return value


def next_u64(seed: int, count: int) -> np.ndarray:
    """The first `count` outputs of SplitMix64 whose state starts at `seed`.

    The state is a counter, so output i needs no other output: state_i = seed + (i + 1) * GAMMA.
    """
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * GAMMA
        z = (z ^ (z >> np.uint64(30))) * MIX_1
        z = (z ^ (z >> np.uint64(27))) * MIX_2
        return z ^ (z >> np.uint64(31))


def uniform(seed: int, count: int) -> np.ndarray:
    """The first `count` values of `Random::uniform` in f32, in [0, 1)."""
    return (next_u64(seed, count) >> np.uint64(40)).astype(np.float32) / np.float32(2**24)


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """The generated f32 tensor of this name and shape; None for what a network itself computes."""
    last = name.rsplit(".", maxsplit=1)[-1]
    if last in CONSTANTS:
        return None
    u = uniform(seed_of(name), math.prod(shape))
    one, two, half, tenth = (np.float32(x) for x in (1.0, 2.0, 0.5, 0.1))
    if name == "input":
        values = (two * u - one) * two
    elif last in EMBEDDINGS:
        values = (two * u - one) * half
    elif last in SCALES:
        values = half + u
    elif last == "logit_scale":
        values = one + u
    elif name.endswith("running_var"):
        values = half + u
    elif name.endswith("running_mean"):
        values = (two * u - one) * tenth
    elif len(shape) == 1 and name.endswith("weight"):
        values = half + u
    elif len(shape) == 1:
        values = (two * u - one) * tenth
    else:
        fan_in = math.prod(shape[1:])
        values = (two * u - one) * np.float32(math.sqrt(3.0 / fan_in))
    assert values.dtype == np.float32
    return values.reshape(shape)


def self_check() -> list[dict]:
    """Known values, one tensor for every rule and a few awkward shapes."""
    # Published outputs of SplitMix64 from state 1234567, and FNV-1a's of "" and "a".
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert next_u64(1234567, 3).tolist() == known
    assert seed_of("") == FNV_OFFSET and seed_of("a") == 0xAF63DC4C8601EC8C

    cases = [
        ("input", (2, 3, 97, 81)),
        ("conv1.weight", (64, 3, 7, 7)),
        ("bn1.weight", (64,)),
        ("bn1.bias", (64,)),
        ("bn1.running_mean", (64,)),
        ("bn1.running_var", (64,)),
        ("layer1.0.conv1.weight", (64, 64, 3, 3)),
        ("fc.weight", (1000, 512)),
        ("fc.bias", (1000,)),
        ("features.3.squeeze.weight", (16, 64, 1, 1)),
        ("blocks.1.0.conv_dw.weight", (96, 1, 3, 3)),
        ("class_token", (1, 1, 768)),
        ("encoder.pos_embedding", (1, 197, 768)),
        ("encoder.layers.encoder_layer_0.self_attention.in_proj_weight", (2304, 768)),
        ("encoder.layers.encoder_layer_0.self_attention.in_proj_bias", (2304,)),
        ("cls_token", (1, 1, 192)),
        ("pos_embed", (1, 37, 192)),
        ("features.1.0.attn.relative_position_bias_table", (169, 3)),
        ("features.1.0.layer_scale", (96, 1, 1)),
        ("blocks.0.ls1.gamma", (192,)),
        ("features.1.0.attn.logit_scale", (3, 1, 1)),
    ]
    rows = []
    for name, shape in cases:
        values = tensor(name, shape)
        rows.append(
            {
                "name": name,
                "shape": list(shape),
                "seed": f"{seed_of(name):016x}",
                "first": [float(x) for x in values.ravel()[:4]],
                "last": float(values.ravel()[-1]),
                "sum": float(values.astype(np.float64).sum()),
            }
        )
    assert tensor("bn1.num_batches_tracked", ()) is None
    assert tensor("features.1.0.attn.relative_position_index", (2401,)) is None
    assert tensor("features.1.0.attn.relative_coords_table", (1, 15, 15, 2)) is None
    return rows


def main() -> None:
    rows = self_check()
    GOLDENS.mkdir(parents=True, exist_ok=True)
    path = GOLDENS / "generator.json"
    lines = ",\n ".join(json.dumps(row) for row in rows)
    path.write_text(f"[{lines}]\n", encoding="utf-8")
    for row in rows:
        print(f"{row['name']:62} {row['shape']!s:20} {row['first'][0]:+.8f} {row['sum']:+.6f}")
    print(f"{len(rows)} tensors -> {path.name}")


if __name__ == "__main__":
    main()
