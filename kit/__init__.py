"""Deploy PaperBroker, load it, inject faults, observe, judge and report."""

import sys

# jsonschema imports this optional parser for formats that no schema here uses, and that import takes longer than all
# others together. jsonschema, nbformat and papermill all work without it.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
