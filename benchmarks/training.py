"""Training speed beside peers, in turns in one run: `python benchmarks/training.py data/cifar10`.

An epoch over the first images of real CIFAR-10 with flip and crop, batch 512, on the device that is there:

    bare      a plain PyTorch loop over a tensor in memory, with visionlab's augmentation: the floor
    ours      `visionlab.train` with its defaults, timed by itself (training alone, without validation)
    tuned     the same with what `python -m visionlab.tune what=speed` advises here
    script    the usual Lightning script: a torchvision data set, PIL transforms, a DataLoader with workers, Trainer()
    timm      timm's loader and augmentation with a plain loop

The figure of each is the median over the rounds; the table has images a second and each over `bare` and `script`. A
second table has the pauses: from the call to the first step, and between two epochs (ours validates a batch there).
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import lightning
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Subset

import visionlab
from visionlab.config import compose
from visionlab.training import build

BATCH = 512


def recipe(args) -> list[str]:
    return [
        "data=cifar10", f"data.root={args.root}", f"data.batch_size={BATCH}", "augment=flip_crop",
        f"data.train_fraction={args.images / 45000}", f"model={args.model}", "test=false",
        "logger=none", "callbacks.progress.show=false", "trainer.limit_val_batches=1",
    ]  # fmt: skip


def bare(args) -> float:
    """Images a second of a loop that does nothing but train."""
    config = compose(recipe(args))
    data = build.data_module(config)
    classifier = build.classifier(config, data)
    device = build.trainer(config).strategy.root_device
    network = classifier.network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    rows = torch.as_tensor(data.splits.train)
    images, labels = data.pixels(rows).to(device), torch.as_tensor(data.index.labels)[rows].to(device)
    began = time.perf_counter()
    for number, part in enumerate(torch.randperm(len(rows)).split(BATCH)):
        places = torch.arange(number * BATCH, number * BATCH + len(part))
        batch, target = data.augment(images[part], labels[part], seed=0, epoch=0, places=places)
        batch = data.preprocess(batch).contiguous(memory_format=torch.channels_last)
        loss = torch.nn.functional.cross_entropy(network(batch), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss.item()
    return len(rows) / (time.perf_counter() - began)


def ours(args, *overrides: str) -> float:
    """Images a second of visionlab, as it reports them."""
    with tempfile.TemporaryDirectory() as folder:
        run = visionlab.train([*recipe(args), f"outputs={folder}", "trainer.max_epochs=1", *overrides])
        return run.metrics[0]["images_per_second"]


class Script(lightning.LightningModule):
    """What a tutorial writes."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def training_step(self, batch, _):
        images, labels = batch
        logits = self.network(images)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        self.log("train_loss", loss, prog_bar=True)
        self.log("train_acc", (logits.argmax(1) == labels).float().mean(), prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Clock(lightning.Callback):
    """Times the training epochs alone, and the pauses around them."""

    latest: "Clock"  # Hydra makes the one of ours

    def __init__(self):
        Clock.latest = self
        self.began, self.ended, self.steps = [], [], []

    def on_train_epoch_start(self, trainer, module):
        self.began.append(time.perf_counter())

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx == 0:
            self.steps.append(time.perf_counter())

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.is_last_batch:
            self.ended.append(time.perf_counter())


def network_of(args):
    config = compose(recipe(args))
    return build.classifier(config, build.data_module(config)).network.to(memory_format=torch.contiguous_format)


def subset(args, transform) -> Subset:
    from torchvision.datasets import ImageFolder

    folder = ImageFolder(Path(args.root) / "train", transform=transform)
    return Subset(folder, torch.randperm(len(folder))[: args.images].tolist())


def script(args, epochs: int = 1) -> float:
    """Images a second of the usual Lightning script."""
    from torchvision import transforms as t

    steps = [t.RandomCrop(32, 4), t.RandomHorizontalFlip(), t.ToTensor(), t.Normalize((0.49,) * 3, (0.2,) * 3)]
    loader = DataLoader(subset(args, t.Compose(steps)), BATCH, shuffle=True, num_workers=args.workers)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(max_epochs=epochs, callbacks=[clock], default_root_dir=folder)
        trainer.fit(Script(network_of(args)), loader)
    return args.images / (clock.ended[0] - clock.began[0])


def timm_loop(args) -> float:
    """Images a second of timm's loader with a plain loop."""
    from timm.data import create_loader

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = create_loader(
        subset(args, None).dataset, (3, 32, 32), BATCH, is_training=True, use_prefetcher=device.type == "cuda",
        num_workers=args.workers, device=device, color_jitter=None, scale=(1, 1), ratio=(1, 1),
    )  # fmt: skip
    network = network_of(args).to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    began, done = time.perf_counter(), 0
    for images, labels in loader:
        loss = torch.nn.functional.cross_entropy(network(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += len(labels)
        if done >= args.images:
            break
    loss.item()
    return done / (time.perf_counter() - began)


def pauses(train: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds from the call to the first step, and from one epoch's last step to the next one's first."""
    called = time.perf_counter()
    train()
    clock = Clock.latest
    return clock.steps[0] - called, clock.steps[1] - clock.ended[0]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder with train/<class>/* and test/<class>/* of CIFAR-10")
    parser.add_argument("--model", default="simple_cnn")
    parser.add_argument("--images", type=int, default=5120, help="images an epoch, at most 45,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="of the peers' loaders")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        tuning = [*recipe(args), "steps=3", f"outputs={folder}", "what=speed", "compile=false"]
        found = visionlab.tune(tuning, directory=folder)[0]
    advice = [
        f"trainer.precision={found['precision']}",
        f"model.channels_last={str(found['channels_last']).lower()}",
    ]
    contenders: dict[str, Callable[[], float]] = {
        "bare": lambda: bare(args),
        "ours": lambda: ours(args),
        "tuned": lambda: ours(args, *advice),
        "script": lambda: script(args),
        "timm": lambda: timm_loop(args),
    }
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, contender in contenders.items():
            speeds[name].append(contender())
    speed = {name: median(values) for name, values in speeds.items()}
    table = Table(title=f"{args.model}, {args.images} CIFAR-10 images, batch {BATCH}", title_justify="left", box=None)
    for column in ("", "images/s", "times bare", "times script", "ms a step over bare"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in speed.items():
        over = 1000 * BATCH * (1 / value - 1 / speed["bare"])
        table.add_row(
            name, f"{value:,.0f}", f"{value / speed['bare']:.2f}", f"{value / speed['script']:.2f}", f"{over:+.1f}"
        )
    waits = Table(title="pauses, s (imports are done, images are cached)", title_justify="left", box=None)
    for column in ("", "start to first step", "between epochs"):
        waits.add_column(column, justify="right" if column else "left")
    ticking = ("+callbacks.clock._target_=__main__.Clock", "trainer.max_epochs=2")
    for name, train in (("ours", lambda: ours(args, *ticking)), ("script", lambda: script(args, epochs=2))):
        measured = [pauses(train) for _ in range(args.rounds)]
        waits.add_row(name, *(f"{median(values):.2f}" for values in zip(*measured, strict=True)))
    console = Console()
    console.print(table)
    console.print(waits)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    console.print(
        f"tuned: {' '.join(advice)}\ntorch {torch.__version__}, lightning {lightning.__version__}, "
        f"python {platform.python_version()}, {device}, {args.rounds} rounds"
    )


if __name__ == "__main__":
    main()
