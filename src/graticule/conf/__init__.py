"""The named choices: typed configurations of every part, and the experiments."""
