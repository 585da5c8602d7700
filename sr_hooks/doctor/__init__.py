"""What works on a network, what does not and why; the table of verified networks."""

from sr_hooks.doctor.diagnosis import Diagnosis, Finding, examine
from sr_hooks.doctor.verified_networks import read_table

__all__ = [
    "Diagnosis",
    "Finding",
    "examine",
    "read_table",
]
