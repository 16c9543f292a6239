"""A task is net, objectives and optimiser; it owns normalisation, so the checkpoint carries it."""
