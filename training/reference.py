"""What training takes from bench/reference, whose folder it puts where imports look: sizes, files, tokenizers, the twin
that is one observation at a time."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.append(str(REPOSITORY / "bench" / "reference"))

import inputs
import policy
import policyFiles
import randomPolicy
from checkpoint import read_checkpoint
from randomPolicy import Variant

__all__ = ["REPOSITORY", "Variant", "inputs", "policy", "policyFiles", "randomPolicy", "read_checkpoint"]
