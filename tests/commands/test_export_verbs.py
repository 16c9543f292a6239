"""`export` and `test` on a run that `train` has made."""

import json
from pathlib import Path

import rasterio

from graticule.cli import main


def test_an_exported_folder_predicts_as_the_run_does(run, capsys):
    out = Path("given_away")
    assert main(["export", str(run), "--to", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    told = json.loads((out / "model.json").read_text())
    assert told["origin"]["run"] == run.name
    assert told["validation"]["val/iou"] > 0
    maps = []
    for folder in (run, out):
        assert main(["predict", str(folder), "predict.window=32", "predict.overlap=8", "predict.products=[]"]) == 0
        (path,) = (folder / "predictions").glob("*landcover.tif")
        with rasterio.open(path) as file:
            maps.append(file.read(1))
    assert (maps[0] == maps[1]).all()
    assert main(["export", str(run), "--to", str(out)]) == 2
    assert "given_away exists already" in capsys.readouterr().err
    assert main(["export", str(run), "--to", str(out), "--overwrite"]) == 0


def test_test_is_an_evaluation_of_the_test_part_on_scenes(run, capsys):
    words = ["evaluate.bootstrap=0", "evaluate.examples=0", "evaluate.objects=true"]
    assert main(["test", str(run), *words]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(run / "evaluation" / "test-scene")
    told = json.loads((run / "evaluation" / "test-scene" / "metrics.json").read_text())
    assert (told["part"], told["grid"]) == ("test", "scene")
    objects = told["targets"]["landcover"]["objects"]
    assert objects["on"] == "scenes"
    assert all(own["metrics"]["truths"] >= 0 for own in objects["classes"].values())


def test_a_best_threshold_that_nobody_knows_is_told(run, capsys):
    assert main(["test", str(run), "evaluate.threshold=best"]) == 2
    assert "the checkpoint knows no best threshold: it has no binary target" in capsys.readouterr().err
