"""Write docs/reference/configuration.md from the configuration itself."""

from pathlib import Path

from graticule.conf.reference import reference

if __name__ == "__main__":
    page = Path(__file__).parent.parent / "docs" / "reference" / "configuration.md"
    page.write_text(reference())
    print(page)
