"""What PyTorch makes of a small network of steps that no classifier has, and its gradients: tests/goldens/steps.json.

Group norm, a transposed convolution, and both ways of resizing, with generated weights (generator.py), in float64.

Versions: see requirements.txt beside this file.
"""

import json

import torch
import torch.nn.functional as F

import generator

NEAREST, BILINEAR = (7, 9), (13, 5)


class Steps(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.norm = torch.nn.GroupNorm(3, 6)
        self.up = torch.nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2)

    def forward(self, x):
        x = self.up(F.relu(self.norm(self.conv(x))))
        x = F.interpolate(x, size=NEAREST, mode="nearest")
        return F.interpolate(x, size=BILINEAR, mode="bilinear", align_corners=False)


def generated(name, shape):
    return torch.from_numpy(generator.tensor(name, tuple(shape))).reshape(tuple(shape)).double()


def main():
    network = Steps().double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(generated(name, parameter.shape))
    image = generated("input", (2, 3, 9, 7)).requires_grad_()
    out = network(image)
    (out**2).sum().backward()
    golden = {"input": list(image.shape), "output": list(out.shape), "values": out.flatten().tolist()}
    gradients = {name: p.grad.flatten().tolist() for name, p in network.named_parameters()}
    gradients["image"] = image.grad.flatten().tolist()
    golden["gradients"] = gradients
    rounded = json.loads(json.dumps(golden), parse_float=lambda text: float(f"{float(text):.9g}"))
    path = generator.GOLDENS / "steps.json"
    path.write_text(json.dumps(rounded) + "\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
