"""The page as a whole: complete, harmless, self-contained, and honest about what is missing."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from run_folders import LEGEND, make_run

from graticule.errors import GraticuleError
from graticule.reporting.report import report
from graticule.runs import Run

SECTIONS = ("results", "map", "windows", "classes", "places", "calibration", "learning", "data", "timings", "record")


class Page(HTMLParser):
    """The elements of a page as (name, attributes), and its visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.source = path.read_text()
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open[-1:]):
            self.text += data

    def of(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture(scope="module")
def page(folder):
    return Page(report([folder]))


def test_page_lies_in_the_run_folder_and_has_every_section(folder, page):
    assert Run(folder).report.is_file()
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {f"r0-{name}" for name in SECTIONS} <= ids
    assert "graticule evaluate" not in page.text
    assert Run(folder).report.stat().st_size < 6e6


def test_page_loads_nothing_from_anywhere(page):
    assert not re.search(r"https?:|@import|url\(", page.source)
    for _, attributes in page.elements:
        for key in ("src", "href", "srcset", "action"):
            assert attributes.get(key, "#").startswith(("data:", "#"))
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_headline_shows_value_interval_and_baselines(folder, page):
    metrics = json.loads((Run(folder).evaluation("test", "store") / "metrics.json").read_text())
    landcover = metrics["targets"]["landcover"]
    low, high = landcover["intervals"]["accuracy"]
    assert f"{landcover['metrics']['accuracy']:.3f}" in page.text
    assert f"95 % interval {low:.3f} – {high:.3f}" in page.text
    assert "majority" in page.text
    assert "boosted trees" in page.text
    assert "312 m" in page.text


def test_every_picture_has_words_and_every_link_an_end(page):
    assert len(page.of("img")) > 20
    assert all(attributes.get("alt") for attributes in page.of("img"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.of("a")} <= set(ids)
    assert all(c.get("aria-label") for c in page.of("canvas"))


def test_text_from_data_is_harmless(tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
    folder = make_run(tmp_path / "run", name=evil)
    path = next((folder / "evaluation").glob("*/metrics.json"))
    content = json.loads(path.read_text())
    content["targets"]["landcover"]["legend"] = [
        entry | {"name": evil + entry["name"], "colour": "red;background:url(https://x.y/z)"} for entry in LEGEND
    ]
    content["targets"]["landcover"]["by_region"] = {evil: {"accuracy": 0.5}}
    content["baseline"] = {evil: {"accuracy": 0.4}}
    path.write_text(json.dumps(content))
    Run(folder).config.write_text(f"note: '</pre><script>alert(3)</script>'\nname: {json.dumps(evil)}\n")
    (folder / "metrics.csv").write_text('step,"</svg><script>alert(4)</script>"\n1,2\n2,3\n')
    page = Page(report([folder]))
    assert len(page.of("script")) == 1
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    assert not [a for _, a in page.elements if "url(" in a.get("style", "")]
    assert evil in page.text


def test_missing_files_are_named_with_the_command_that_makes_them(tmp_path):
    Run(tmp_path).update_manifest(name="bare", id="abcd1234", seed=1, state="created")
    page = Page(report([tmp_path]))
    for command in ("train", f"evaluate {tmp_path}", f"predict {tmp_path}", f"resume {tmp_path}"):
        assert f"graticule {command}" in page.text


FILES = (
    "metrics.csv", "throughput.csv", "config.yaml", "assignment.parquet", "leak_audit.json", "baselines.json",
    "evaluation/test-store/metrics.json", "evaluation/test-store/examples.npz", "predictions/overview.npz",
)  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_stops_nothing(tmp_path, name):
    folder = make_run(tmp_path / "run")
    path = folder / name
    path.write_bytes(b"\x80\x02{[: - \xff" + path.read_bytes()[: path.stat().st_size // 2])
    page = Page(report([folder]))
    assert f"{name} could not be read" in page.text
    assert "Configuration and environment" in page.text


def test_several_runs_stand_side_by_side(tmp_path):
    raster = make_run(tmp_path / "raster", "raster-run", 1, skill=0.6)
    sphere = make_run(tmp_path / "sphere", "sphere-run", 2, grid="healpix:256", skill=0.9)
    path = report([raster, sphere], tmp_path / "both.html")
    page = Page(path)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"compare", "compare-map", "compare-curves"} <= set(ids)
    assert {f"{run}-{name}" for run in ("r0", "r1") for name in SECTIONS} <= set(ids)
    best = re.search(r"Accuracy</th>(.*?)</tr>", page.source.split('class="data"', 1)[1], re.DOTALL).group(1)
    cells = re.findall(r'<td class="([^"]*)">', best)
    assert cells[:2] == ["num", "num best"]
    chosen = [o["value"] for o in page.of("option") if "selected" in o][:2]
    assert chosen == ["r0-landcover-prediction", "r1-landcover-prediction"]


def test_runs_of_one_name_are_told_apart(tmp_path):
    folders = [make_run(tmp_path / str(seed), "twin", seed) for seed in (1, 2)]
    page = Page(report(folders, tmp_path / "both.html"))
    assert "twin abcd0001" in page.text
    assert "twin abcd0002" in page.text


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(GraticuleError, match=r"is not a run folder \(it has no manifest.json\); give the folder"):
        report([tmp_path])
    with pytest.raises(GraticuleError, match="no run folder was given; give at least one"):
        report([])
    assert not list(tmp_path.iterdir())


def test_reporting_needs_no_torch():
    code = "import sys, graticule.reporting.report; print([m for m in ('torch', 'lightning') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs a browser")
def test_page_runs_without_errors_and_fits_a_phone(folder, page, tmp_path):
    probe = (
        "<script>const faults=[];addEventListener('error',e=>faults.push(e.message));"
        "addEventListener('load',()=>setTimeout(()=>{const c=document.querySelector('canvas.map');"
        "document.title=c.getContext('2d').getImageData(c.width/4|0,c.height/2|0,1,1).data[3]+' '+faults},800))"
        "</script>"
    )
    copy = tmp_path / "page.html"
    copy.write_text(page.source.replace("<body>", "<body>" + probe))
    assert _title(copy, tmp_path, 800).strip() == "255"
    # A headless window is at least 500 px wide; a frame is as narrow as a phone.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"<title></title><iframe src='{copy.as_uri()}' style='width:390px;height:900px;border:0'></iframe>"
        "<script>addEventListener('load',()=>setTimeout(()=>{document.title='wide '+"
        "document.querySelector('iframe').contentDocument.documentElement.scrollWidth},900))</script>"
    )
    assert _title(frame, tmp_path, 600) == "wide 390"


def _title(page: Path, scratch: Path, width: int) -> str:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
               "--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files",
               "--hide-scrollbars", "--virtual-time-budget=4000", f"--user-data-dir={scratch / 'profile'}",
               f"--window-size={width},900", "--dump-dom"]  # fmt: skip
    done = subprocess.run(["chromium", *options, page.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    return re.search(r"<title>(.*?)</title>", done.stdout).group(1)
