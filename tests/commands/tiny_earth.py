TINY = [
    "source.grid=raster:3deg", "model=unet", "model.channels=4", "model.levels=2", "data.batch_size=32",
    "split.seed=1529", "data.targets=[landcover]", "trainer.max_epochs=1", "trainer=cpu",
    "trainer.limit_train_batches=2", "evaluate.bootstrap=5", "evaluate.examples=2",
]  # fmt: skip
"""The whole Earth in 288 windows of 5 x 5 pixels, and a net to match."""
