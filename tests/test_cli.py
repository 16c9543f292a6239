import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from graticule import __version__
from graticule.arguments import parser_of
from graticule.cli import main
from graticule.verbs import VERBS

BINARY = [sys.executable, "-m", "graticule"]
CHEAP = "import sys; from graticule.cli import main; main({words!r}); print(sorted(sys.modules), file=sys.stderr)"


def test_help_answers_at_once_and_names_every_verb():
    before = os.times()
    told = subprocess.run([*BINARY, "--help"], capture_output=True, text=True, check=True).stdout
    after = os.times()
    assert all(f"  {verb}" in told for verb in VERBS)
    # Computing time, since the machine may be busy with other tests.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)])
def test_help_imports_nothing_heavy(words):
    code = CHEAP.format(words=words)
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    for heavy in ("torch", "lightning", "hydra", "omegaconf", "pydantic", "numpy", "zarr", "rasterio", "pandas"):
        assert f"'{heavy}'" not in loaded


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_teaches_with_examples_that_parse(verb, capsys):
    assert main([verb, "--help"]) == 0
    told = capsys.readouterr().out
    assert VERBS[verb].summary in told
    examples = [line.strip().split("  ")[0] for line in told.splitlines() if line.startswith(f"  graticule {verb}")]
    assert len(examples) >= 2
    for example in examples:
        parser_of(verb).parse_intermixed_args(example.replace("'", "").split()[2:])


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_no_words_are_help(words, capsys):
    assert main(words) == 0
    assert "usage: graticule VERB" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"graticule {__version__}\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trian"], "no verb is named 'trian'; did you mean 'train'?"),
        (["zzz"], f"no verb is named 'zzz'; the verbs are: {', '.join(VERBS)}."),
        (["train", "--confg", "a"], "unrecognized arguments: --confg; see `graticule train --help`."),
        (["evaluate"], "no run was given; name its folder: graticule evaluate RUN."),
        (["report"], "no run was given; name its folder: graticule report RUN."),
        (
            ["evaluate", "nowhere"],
            "nowhere is not a run folder (it has no manifest.json); give the folder that `graticule train` printed.",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(words, line, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err == f"graticule: error: {line}\n"


def test_a_fault_of_our_own_keeps_its_traceback(capsys, monkeypatch):
    monkeypatch.setattr("graticule.reporting.report.read_evidence", lambda folder: 1 / 0)
    assert main(["report", "x"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "ZeroDivisionError" in told


def test_print_config_is_yaml_on_standard_output_alone(capsys):
    assert main(["train", "experiment=earth_small", "trainer.max_epochs=3", "--print-config"]) == 0
    told = capsys.readouterr()
    assert "  max_epochs: 3\n" in told.out
    assert told.err == ""


def test_a_python_file_is_its_own_job_script(tmp_path):
    script = tmp_path / "my_run.py"
    script.write_text(
        "#SBATCH --time=1:00:00\nimport sys\n\n"
        'config = {"experiment": "earth_small", "trainer.max_epochs": 7}\n\n'
        'if __name__ == "__main__":\n    from graticule.cli import main\n\n'
        '    sys.exit(main(["train", "--config", __file__, "--print-config"]))\n'
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "max_epochs: 7" in done.stdout


def test_dot_env_gives_roots_and_is_not_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("OUTPUT_ROOT", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "")  # so that what is read is taken away again
        monkeypatch.delenv(name)
    Path(".env").write_text("OUTPUT_ROOT=/from/env\nWANDB_API_KEY=very-secret\n")
    assert main(["train", "--print-config"]) == 0
    told = capsys.readouterr()
    assert "output_root: /from/env" in told.out
    assert "very-secret" not in told.out + told.err
    assert os.environ["WANDB_API_KEY"] == "very-secret"


def test_interrupted_is_130(tmp_path):
    code = """
import sys, time
import graticule.cli as cli
cli._run = lambda words: (print("ready", flush=True), time.sleep(60))
sys.exit(cli.main([]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert process.stderr.read() == "graticule: interrupted\n"
