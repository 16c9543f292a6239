"""Names, places and files of a run."""

import json
import re

import pytest

from graticule.errors import GraticuleError
from graticule.runs import create_run, find_run, random_id, random_name, run_folder


def test_names_are_readable_and_ids_have_eight_characters():
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d\d", random_name())
    assert re.fullmatch(r"[a-z0-9]{8}", random_id())


def test_the_hierarchy_keeps_the_root_clean(tmp_path):
    assert run_folder(tmp_path, "r", "i") == tmp_path / "_runs" / "r-i"
    assert run_folder(tmp_path, "r", "i", cv_name="c") == tmp_path / "_cross_validations" / "c" / "r-i"
    assert run_folder(tmp_path, "r", "i", cv_name="c", tune_name="t") == tmp_path / "t" / "c" / "r-i"


def test_a_new_run_says_who_it_is_and_what_was_installed(tmp_path):
    run = create_run(tmp_path, "alps", seed=7)
    manifest = find_run(run.folder).read_manifest()
    assert run.folder.name == f"alps-{manifest['id']}"
    assert (manifest["name"], manifest["seed"], manifest["state"]) == ("alps", 7, "created")
    packages = next(run.folder.glob("installed_pkgs.*.log")).read_text()
    assert "torch==" in packages
    assert "python" in json.loads(next(run.folder.glob("runtime_tags.*.log")).read_text())


def test_updating_the_manifest_keeps_the_other_entries(tmp_path):
    run = create_run(tmp_path, "alps", seed=7)
    run.update_manifest(state="finished")
    assert run.read_manifest()["state"] == "finished"
    assert run.read_manifest()["name"] == "alps"


def test_a_folder_without_manifest_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(GraticuleError, match=r"is not a run folder \(it has no manifest.json\); give the folder"):
        find_run(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(GraticuleError, match=r"manifest\.json is damaged"):
        find_run(tmp_path)
