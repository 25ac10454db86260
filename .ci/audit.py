"""Known vulnerabilities of the pinned dependencies, by pip-audit; never green without an answer.

    python .ci/audit.py constraints.txt [--unreachable-ok]

pip-audit stands in an environment of its own below `build/`. It calls a package that the
advisory service does not know "skipped" and ends with success, and an index without the
service's interface answers so to every package. Here that counts as no answer: the next
service is asked, and at the end the packages without an answer are named.

Exit codes: 0 every package was looked up and none is known to be vulnerable; 1 vulnerabilities;
3 some packages could not be looked up, unless `--unreachable-ok` accepts that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

PIP_AUDIT = "pip-audit==2.10.1"
SERVICES = ("pypi", "osv")
FOUND, UNKNOWN = 1, 3


def auditor(folder: Path) -> Path:
    """The Python of an environment that has pip-audit; made where there is none."""
    python = folder / "bin" / "python"
    stamp = folder / PIP_AUDIT
    if not stamp.exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, PIP_AUDIT], check=True)
        stamp.touch()
    return python


def asked(python: Path, requirements: Path, service: str) -> tuple[dict[str, Any] | None, str]:
    """pip-audit's report by one service, or None and what went wrong."""
    run = subprocess.run(
        [
            *(str(python), "-m", "pip_audit", "--requirement", str(requirements)),
            *("--no-deps", "--disable-pip", "--vulnerability-service", service),
            *("--format", "json", "--progress-spinner", "off", "--timeout", "20"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return json.loads(run.stdout), ""
    except ValueError:
        return None, (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]


def sorted_out(report: dict[str, Any]) -> tuple[list[str], list[str], int]:
    """Lines about vulnerable packages, names of those without an answer, and how many had one."""
    found, unknown, known = [], [], 0
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
            continue
        known += 1
        for flaw in package["vulns"]:
            fixed = ", ".join(flaw.get("fix_versions") or []) or "no version yet"
            found.append(f"{package['name']} {package['version']}: {flaw['id']}, mended in {fixed}")
    return found, unknown, known


def main() -> int:
    """Ask the services in turn; see the module for the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--environment", type=Path, default=Path("build/audit"))
    parser.add_argument("--unreachable-ok", action="store_true", help="success without an answer")
    given = parser.parse_args()
    reasons = []
    try:
        python = auditor(given.environment)
    except (OSError, subprocess.CalledProcessError) as error:
        reasons.append(f"{PIP_AUDIT} cannot be installed: {error}")
    else:
        for service in SERVICES:
            report, trouble = asked(python, given.requirements, service)
            if report is None:
                reasons.append(f"{service}: {trouble}")
                continue
            found, unknown, known = sorted_out(report)
            if found:
                print(*found, sep="\n", file=sys.stderr)
                return FOUND
            if known and not unknown:
                print(f"{known} packages looked up at {service}: no known vulnerability")
                return 0
            names = ", ".join(unknown[:3])
            reasons.append(f"{service}: no answer about {len(unknown)} packages ({names}, ...)")
    print(
        "NOT AUDITED: the advisory services gave no answer.",
        *(f"  {reason}" for reason in reasons),
        "Run it where PyPI or OSV can be reached, or accept this time with "
        "--unreachable-ok (make check AUDIT=--unreachable-ok).",
        sep="\n",
        file=sys.stderr,
    )
    return 0 if given.unreachable_ok else UNKNOWN


if __name__ == "__main__":
    sys.exit(main())
