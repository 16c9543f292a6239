"""What a rendering leaves and says."""

import numpy as np
from PIL import Image


def pixels(path):
    return np.asarray(Image.open(path))


def told_by(capsys):
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return told.out.split(), told.err
