"""Tiny recipes, and a script that trains them in processes of its own.

python toys.py NAME,... OUTPUT [key=value ...] [--resume]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from scanweave.errors import InputError, ScanweaveError
from scanweave.training import Recipe, TrainingConfig, Update, train


class Numbers:
    """Points of a curve with drawn noise; what is drawn decides everything."""

    def __init__(self, count: int = 40) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def draw(self, index: int, *, generator: np.random.Generator) -> dict[str, float]:
        return {"index": index, "noise": float(generator.normal(scale=0.1))}

    def make(self, drawn: dict[str, float]) -> dict[str, torch.Tensor]:
        x = torch.linspace(-1, 1, 4) * (1 + drawn["index"] % 7) + drawn["noise"]
        return {"x": x, "y": x.sin().mean().reshape(1), "index": torch.tensor(drawn["index"])}


class Regression(Recipe):
    """One network, one optimizer, a schedule, dropout, batch statistics if asked, an average."""

    monitor = "-error"

    def __init__(self, samples=None, *, width: int = 8, dropout: float = 0.0, decay: float | None = 0.9) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.net = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 1))
            torch.manual_seed(3)
            self.fixed = nn.Linear(1, 1).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-2)
        self.source = samples or Numbers()
        self.decay = decay
        self.seen: list[list[int]] = []

    def modules(self):
        return {"net": self.net, "fixed": self.fixed}

    def optimizers(self):
        return {"net": self.optimizer}

    def samples(self):
        return self.source

    def validation(self):
        return Numbers(7)

    def learning_rate(self, step):
        return {"net": 1e-2 / (1 + step / 50)}

    def averages(self, step):
        return {} if self.decay is None else {"net": self.decay}

    def updates(self, batch, step):
        self.seen.append(batch["index"].tolist())
        error = self.fixed(self.net(batch["x"])) - self.fixed(batch["y"])
        yield Update("net", error.square().mean(), {"absolute": error.abs().mean()})

    def validate(self, batch):
        return {"error": (self.net(batch["x"]) - batch["y"]).square().mean(1), "index": batch["index"].double()}

    def pictures(self, batch):
        return {"x": batch["x"].reshape(1, 2, 2).sigmoid()}

    def export(self, directory, stem):
        path = directory / f"{stem}.json"
        path.write_text(json.dumps({key: value.tolist() for key, value in self.net.state_dict().items()}))
        return [path]


class Gan(Recipe):
    """Two networks against each other, with a gradient penalty and gradients mended by the recipe."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.g, self.d = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 1))
        self.both = {
            "g": torch.optim.Adam(self.g.parameters(), lr=1e-2, betas=(0.0, 0.99)),
            "d": torch.optim.Adam(self.d.parameters(), lr=1e-2, betas=(0.0, 0.99)),
        }

    def modules(self):
        return {"g": self.g, "d": self.d}

    def optimizers(self):
        return self.both

    def samples(self):
        return Numbers()

    def updates(self, batch, step):
        real = batch["x"].clone().requires_grad_()
        fake = self.g(batch["x"])
        scores = self.d(real)
        (slope,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
        penalty = 5 * slope.square().sum(1).mean()
        yield Update("d", F.softplus(self.d(fake)).mean() + F.softplus(-scores).mean() + penalty, {"penalty": penalty})
        # the critic has changed; its gradients from this loss must go nowhere
        yield Update("g", F.softplus(-self.d(self.g(batch["x"]))).mean() + (fake.detach() ** 2).mean())

    def on_gradients(self, optimizer, parameters, step):
        for parameter in parameters:
            parameter.grad.nan_to_num_(0.0, 1e5, -1e5)

    def averages(self, step):
        return {"g": 0.5 ** (4 / 1000)}


class Sparse(Regression):
    """One parameter gets gradients from some parts of a batch only, another from none."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.ParameterDict({"some": nn.Parameter(torch.ones(1)), "none": nn.Parameter(torch.ones(1))})
        self.optimizer = torch.optim.AdamW([*self.net.parameters(), *self.extra.parameters()], lr=1e-2)

    def modules(self):
        return super().modules() | {"extra": self.extra}

    def updates(self, batch, step):
        for update in super().updates(batch, step):
            used = self.extra["some"].sum() if batch["index"][0] % 2 else 0
            yield Update("net", update.loss + used**2, update.logs)


class Damaged(Numbers):
    """One sample cannot be made."""

    def make(self, drawn):
        if drawn["index"] == 13:
            raise InputError("is damaged", path="thirteen.dcm")
        return super().make(drawn)


RECIPES = {
    "regression": Regression,
    "gan": Gan,
    "sparse": Sparse,
    "dropout": lambda: Regression(dropout=0.5),
    "damaged": lambda: Regression(Damaged()),
}


def main() -> None:
    words = [word for word in sys.argv[3:] if word != "--resume"]
    config = TrainingConfig(**{name: json.loads(value) for name, value in (word.split("=", 1) for word in words)})
    for name in sys.argv[1].split(","):  # one after the other in one process
        try:
            train(RECIPES[name](), config, Path(sys.argv[2], name), resume="--resume" in sys.argv)
        except ScanweaveError as error:
            sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
