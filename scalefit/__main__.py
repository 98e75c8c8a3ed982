"""Console script and ``python -m scalefit``: load the commands of ``cli.py`` and run them.

The checkout keeps the commands in a top-level ``cli.py``. A wheel that installed a module of that
name would lose it to any other package with a ``cli.py``, so there it travels as ``_cli.py``.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def main() -> None:
    """Run the command line."""
    here = Path(__file__).parent
    carried = here / "_cli.py"
    path = carried if carried.exists() else here.parent / "cli.py"
    spec = spec_from_file_location("scalefit._cli", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main()


if __name__ == "__main__":
    main()
