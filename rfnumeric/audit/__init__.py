"""Every checkable claim of the two papers as an executable check with a verdict: the audit."""

from rfnumeric.audit.claim import CLAIMS, SECTIONS, VERDICTS, Claim, Measured
from rfnumeric.audit.run import Result, all_claims, run_audit

__all__ = ["CLAIMS", "SECTIONS", "VERDICTS", "Claim", "Measured", "Result", "all_claims", "run_audit"]
