"""Tasks: a net with its objectives and optimiser; what a trainer trains and a checkpoint holds."""
