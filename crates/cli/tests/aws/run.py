"""Runs every check of boto3 and of the AWS Encryption SDK against a cluster that `conclave dev` started."""

import sys
import time

import encryption_sdk
import errors
import flood
import grants
import guide
import harness
import hostile
import importing
import keys
import names
import policies
import retries
import usage

began = time.monotonic()
# The keys that the first makes are used by the others.
for module in (
    keys, usage, names, importing, errors, policies, grants, retries, hostile, flood,
    encryption_sdk, guide,
):  # fmt: skip
    for section in module.SECTIONS:
        harness.section(section)
seconds = time.monotonic() - began
print(f"boto3: {harness.passed} checks held, {len(harness.failures)} failed, in {seconds:.0f} s")
sys.exit(1 if harness.failures else 0)
