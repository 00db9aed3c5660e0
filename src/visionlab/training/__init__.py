"""What happens between the first and the last step: the LightningModule, callbacks, losses, ranks."""
