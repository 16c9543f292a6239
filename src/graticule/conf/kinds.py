"""The kinds of tasks and their sections."""

from typing import Literal

TaskName = Literal["dense"]
"""What is learnt; each but `dense` has a section of its name, which the others take no notice of."""
