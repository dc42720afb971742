"""What the goldens of training share: networks with generated weights and a small head, and their batches.

Nothing is drawn at random in training (dropout and stochastic depth let everything through): no two libraries draw
alike.

Versions: see requirements.txt beside this file.
"""

import timm
import torch
import torchvision
from torch import nn

import generator


def network(name: str, library: str, side: int, classes: int, dtype: torch.dtype) -> nn.Module:
    """torchvision's or timm's network for square images of this side, with generated weights, in training mode."""
    if library == "timm":
        sized = {"img_size": side} if name.startswith(("vit", "coatnet")) else {}
        built = timm.create_model(name, pretrained=False, num_classes=classes, **sized)
    elif name.startswith(("fcn", "deeplab", "lraspp")):
        whole = {"weights": None, "weights_backbone": None, "num_classes": classes}
        built = torchvision.models.get_model(name, **whole)
    else:
        sized = {"image_size": side} if name.startswith("vit") else {}
        if name.startswith("maxvit"):
            sized = {"input_size": (side, side)}
        if name in ("googlenet", "inception_v3"):
            sized = {"aux_logits": False, "transform_input": False, "init_weights": False}
        built = torchvision.models.get_model(name, weights=None, num_classes=classes, **sized)
    for module in built.modules():
        if isinstance(module, nn.Dropout | torchvision.ops.StochasticDepth):
            module.p = 0.0
    state = built.state_dict()
    for key, value in state.items():
        values = generator.tensor(key, tuple(value.shape))
        if values is not None:
            state[key] = torch.from_numpy(values).reshape(value.shape)
    built.load_state_dict(state)
    return built.to(dtype).train()


def images(stream: str, count: int, side: int, dtype: torch.dtype) -> torch.Tensor:
    """Images [N, 3, H, W] between -2 and 2: the numbers of the generator's stream of that name, each `(2u - 1) * 2`
    in f32."""
    u = torch.from_numpy(generator.uniform(generator.seed_of(stream), count * 3 * side * side))
    return ((2 * u - 1) * 2).reshape(count, 3, side, side).to(dtype)


def is_batch_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def freeze_statistics(built: nn.Module) -> None:
    """Batch norms use their running statistics and keep them."""
    for module in built.modules():
        if is_batch_norm(module):
            module.eval()


def names_of(built: nn.Module) -> list[str]:
    """All parameters and running statistics, sorted by name."""
    counted = (key for key, value in built.state_dict().items() if value.is_floating_point())
    return sorted(key for key in counted if generator.tensor(key, (1,)) is not None)
