"""docs/aws-compatibility.md holds: its code runs as it stands there, its table is what nodes answer."""

import re
import subprocess
import sys
from pathlib import Path

from harness import NODES, expect, expect_that, post

DOCUMENT = Path(__file__).resolve().parents[4] / "docs/aws-compatibility.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


def rows():
    """Every operation of the table, and how it stands."""
    return re.findall(r"^\| (\w+) \| (offered|not yet|never) \|", DOCUMENT.read_text(), re.MULTILINE)


def python_of_the_guide_runs():
    """Each block goes on where the one before it ended."""
    code = "".join(blocks("python"))
    expect_that("there is some", "boto3" in code and "aws_encryption_sdk" in code)
    ran = subprocess.run([sys.executable, "-"], input=code, text=True, capture_output=True, check=False)
    expect_that("it ends well", ran.returncode == 0, ran.stderr)


def the_table_is_what_nodes_answer():
    expect("every operation has a row", sorted(dict(rows())), sorted(operations()))
    for operation, standing in rows():
        answer = post("{}", f"TrentService.{operation}")
        known = answer.status == 200 or answer.json()["__type"] != "UnknownOperationException"
        expect(f"{operation} is {standing}", known, standing == "offered")


def operations():
    """Those that boto3 knows of."""
    return NODES[0].meta.service_model.operation_names


SECTIONS = [python_of_the_guide_runs, the_table_is_what_nodes_answer]
