"""Overrides for a small quick run; in a module of its own, since every folder's conftest has the same name."""

# A network and a set small enough that a run costs less than its imports.
QUICK = [
    "data=digits", "data.image_size=8", "data.batch_size=128", "model=simple_cnn", "model.network.filters=[8,16]",
    "model.network.dense_units=32", "optimizer.lr=0.01", "trainer.max_epochs=2", "trainer.accelerator=cpu",
    "callbacks.progress.show=false", "logger=none",
]  # fmt: skip
