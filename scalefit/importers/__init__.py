"""What other tools wrote: tables of any common format, and the logs of training runs.

`tables` reads every table that a command is given. The other modules read one source each into an
`Imported` (`imported`), which `convert` makes rows of the runs table out of.
"""

from scalefit.importers.tables import (
    NON_EMBEDDING,
    SYNONYMS,
    load,
    nearest,
    parse,
    part_files,
    recognise,
)

__all__ = [
    "NON_EMBEDDING",
    "SYNONYMS",
    "load",
    "nearest",
    "parse",
    "part_files",
    "recognise",
]
