"""One self-contained HTML page made from run folders."""

from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from graticule.errors import GraticuleError
from graticule.files import whole_file
from graticule.reporting import compare, cross, record, sections, study
from graticule.reporting.backbone import backbone
from graticule.reporting.detection import detection
from graticule.reporting.earth import layers
from graticule.reporting.evidence import Evidence, read_evidence
from graticule.reporting.examples import painter, training_pictures
from graticule.reporting.markup import Html, join, tag
from graticule.reporting.windows import windows
from graticule.reporting.words import duration
from graticule.runs import Crossval, StudyFolder

# Whatever a run's files hold, the page loads nothing from anywhere and sends nothing anywhere.
_POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_MARK = Html(
    '<svg viewBox="0 0 32 32" class="mark" aria-hidden="true"><circle cx="16" cy="16" r="13"/>'
    '<ellipse cx="16" cy="16" rx="5.5" ry="13"/><path d="M3 16h26M5 9.5h22M5 22.5h22"/></svg>'
)


_OWN_RESULTS = {"pretraining": backbone, "painting": painter}
"""The results of tasks that predict no maps."""


def report(run_folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of one run, cross-validation or study, or one page that compares several runs.

    Args:
        run_folders: folders that `graticule train` made; or one that `crossval` or `tune` made. Files missing in them
            are named on the page with the command that makes them.
        out: the page; by default `report.html` in the first run folder.

    Returns:
        The path of the page.

    Raises:
        GraticuleError: if no folder is given, or one is no run folder.
        OutputError: if the page cannot be written.
    """
    if not run_folders:
        raise GraticuleError("no run folder was given; give at least one, as `graticule train` printed it.")
    first = Path(run_folders[0])
    if len(run_folders) == 1 and Crossval(first).manifest.is_file():
        default, page = Crossval(first).report, _of_many(cross.page_of(cross.read_cross(first)))
    elif len(run_folders) == 1 and StudyFolder(first).manifest.is_file():
        default, page = StudyFolder(first).report, _of_many(study.page_of(study.read_search(first)))
    else:
        runs = [read_evidence(Path(folder)) for folder in run_folders]
        default = runs[0].run.report
        page = _page(runs[0].name if len(runs) == 1 else " and ".join(compare.labels(runs)), _body(runs))
    path = Path(out) if out else default
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _of_many(made: tuple[str, str, list[tuple[str, str]], Html]) -> str:
    title, subtitle, links, body = made
    return _page(title, join(_head(title, subtitle, links), tag("main", body)))


def _body(runs: Sequence[Evidence]) -> Html:
    if len(runs) == 1:
        links = _links("r0", runs[0])
        return join(
            _head(runs[0].name, _subtitle(runs[0]), links), tag("main", _problems(runs[0]), _sections(runs[0], "r0"))
        )
    names = compare.labels(runs)
    made = [layers(run, f"r{k}") for k, run in enumerate(runs)]
    shared = [compare.side_by_side(runs), compare.shared_map(runs, made), compare.shared_curves(runs)]
    links = [("#compare", "Side by side")] + [(f"#r{k}", name) for k, name in enumerate(names)]
    parts = []
    for k, (name, run) in enumerate(zip(names, runs, strict=True)):
        title = tag("header", tag("h1", name), tag("p", _subtitle(run), class_="lead"), class_="run-title", id=f"r{k}")
        parts.append(join(title, _problems(run), _sections(run, f"r{k}")))
    return join(_head(" · ".join(names), f"{len(runs)} runs side by side", links), tag("main", shared, parts))


def _sections(found: Evidence, prefix: str) -> Html:
    if own := _OWN_RESULTS.get(found.task or ""):
        return join(
            own(found, prefix),
            training_pictures(found, prefix),
            sections.learning(found, prefix),
            record.data_and_split(found, prefix),
            sections.timings(found, prefix),
            record.configuration(found, prefix),
        )
    return join(
        sections.results(found, prefix),
        sections.scene(found, prefix),
        windows(found, prefix),
        sections.classes(found, prefix),
        sections.places(found, prefix),
        detection(found, prefix),
        sections.calibration(found, prefix),
        training_pictures(found, prefix),
        sections.learning(found, prefix),
        record.data_and_split(found, prefix),
        sections.timings(found, prefix),
        record.configuration(found, prefix),
    )


def _links(prefix: str, found: Evidence) -> list[tuple[str, str]]:
    names = {
        "results": "Result", "map": "Map", "windows": "Windows", "classes": "Classes", "places": "Regions",
        "calibration": "Calibration", "learning": "Learning", "data": "Data", "timings": "Timings", "record": "Record",
    }  # fmt: skip
    absent = [] if found.task not in _OWN_RESULTS else ["map", "windows", "classes", "places", "calibration"]
    for name in absent or ([] if found.evaluations else ["calibration"]):
        names.pop(name)
    return [(f"#{prefix}-{ident}", name) for ident, name in names.items()]


def _subtitle(found: Evidence) -> str:
    manifest, parts = found.manifest, []
    model, source = found.config.get("model"), found.config.get("source")
    if isinstance(model, dict) and (name := model.get("name") or model.get("_target_")):
        parts.append(str(name).rsplit(".", 1)[-1])
    if isinstance(source, dict) and source.get("grid"):
        parts.append(f"on {source['grid']}")
    parts += [f"{word} {manifest[word]}" for word in ("seed",) if word in manifest]
    if manifest.get("state"):
        parts.append(str(manifest["state"]))
    times = [_time(manifest.get(key)) for key in ("created", "finished")]
    if times[0]:
        parts.append(f"{times[0]:%Y-%m-%d %H:%M} UTC")
        if times[1]:
            parts.append(f"took {duration((times[1] - times[0]).total_seconds())}")
    return " · ".join(parts)


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


def _problems(found: Evidence) -> Html | None:
    if not found.problems:
        return None
    return tag("ul", [tag("li", problem) for problem in found.problems], class_="problems", role="alert")


def _head(title: str, subtitle: str, links: Sequence[tuple[str, str]]) -> Html:
    toggle = tag("button", "Dark", type="button", id="theme", aria_label="Switch between light and dark")
    nav = tag("nav", [tag("a", name, href=link) for link, name in links], aria_label="Sections")
    bar = tag("div", tag("a", _MARK, "Graticule", href="#top", class_="brand"), nav, toggle, class_="bar")
    return join(bar, tag("header", tag("h1", title), tag("p", subtitle, class_="lead"), class_="hero", id="top"))


def _page(title: str, body: Html) -> str:
    room = files("graticule.reporting") / "page"
    style, *scripts = ((room / name).read_text(encoding="utf-8") for name in ("page.css", "page.js", "earth.js"))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} – Graticule report"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    )
    foot = tag("footer", "Made by Graticule from the files of the run folder. This page needs no network.")
    tip = tag("div", id="tip", role="status", hidden=True)
    code = tag("script", Html("\n".join(scripts)))
    return "<!doctype html>\n" + tag("html", head, tag("body", body, foot, tip, code), lang="en", class_="no-js")
