"""Whether masking the filters that FAIG names removes their function, against other rankings."""

from sr_hooks.analyses.faig_verify.analysis import FaigVerify, VerifyOptions, verify
from sr_hooks.analyses.faig_verify.result import VerifyResult

__all__ = [
    "FaigVerify",
    "VerifyOptions",
    "VerifyResult",
    "verify",
]
