"""Run every study and write the gallery: docs/gallery.md and a figure each.

    python docs/gallery.py [NAME ...]

Without names all are run; with them, only their entries are made anew. What a study said when it
was run lies beside its figure, as JSON.
"""

import argparse
import json
import tempfile
from pathlib import Path

from PIL import Image

from trainers.study import Study, perform, studies, study

HERE = Path(__file__).parent
FIGURES = HERE / "gallery"
WIDTH = 900
"""Pixels of a figure."""


def main() -> None:
    """Run what was asked for, and write the page."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("names", nargs="*")
    FIGURES.mkdir(exist_ok=True)
    for name in parser.parse_args().names or studies():
        with tempfile.TemporaryDirectory() as folder:
            done = perform(name, Path(folder))
            _small(done.figure, FIGURES / f"{name}.png")
        said = done.to_dict()
        kept = {key: said[key] for key in ("name", "title", "seeds", "finding")}
        (FIGURES / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
        print(f"{name}: {done.seconds:.0f} s, {'showed' if done.finding.showed else 'NOT shown'}")
    (HERE / "gallery.md").write_text(page())


def page() -> str:
    """The gallery, from what lies beside the figures."""
    lines = [
        "# Gallery of studies",
        "",
        "Where power laws come from and where they break: phenomena of over-parameterised models, "
        "each run by `scalefit study NAME`, which writes its table and its figure and says what it "
        "found. The numbers here are those of the run that made the figure "
        "(`python docs/gallery.py`); a study that does not show what was claimed says so.",
    ]
    for name, about in studies().items():
        path = FIGURES / f"{name}.json"
        if path.exists():
            lines += entry(name, about, json.loads(path.read_text()))
    return "\n".join(lines) + "\n"


def entry(name: str, about: str, said: dict[str, object]) -> list[str]:
    """A study: figure, verdict, finding, and the question it bears on."""
    finding = said["finding"]
    assert isinstance(finding, dict)
    verdict = "Showed" if finding["showed"] else "**Did not show**"
    found = study(name)
    return [
        f"\n## {name}\n",
        f"{about}\n",
        f"![{said['title']}](gallery/{name}.png)\n",
        f"{verdict} ({said['seeds']} seeds): {finding['criterion']}.\n",
        *(f"- {sentence}" for sentence in finding["text"]),
        f"\nBears on: {found.bears_on} Sources: {'; '.join(found.sources)}.{_full(found)}",
    ]


def _full(found: Study) -> str:
    """What --full would run."""
    data = f", with --data {found.data}" if found.data else ""
    return f" `--full` runs {found.full}{data}; no figure here is of it." if found.full else ""


def _small(figure: Path, place: Path) -> None:
    with Image.open(figure) as image:
        height = round(image.height * WIDTH / image.width)
        smaller = image.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
        smaller.save(place, optimize=True)


if __name__ == "__main__":
    main()
