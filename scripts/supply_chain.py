"""Checks the locked packages of the services: known vulnerabilities, licences, and a bill of materials.

`audit` exits with 1 if a locked package has a known vulnerability, and with 3 if some packages could not be checked;
with `--if-reachable` it only reports the latter. `licences` exits with 1 if a package has a licence that is not allowed
here. `sbom` writes CycloneDX files to build/sbom.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
SERVICES = ("line_provider", "score_maker", "arq_worker")

NOT_CHECKED = 3

# Spelled as in the packages' metadata. The Mozilla licence covers single files, and certifi's are used unmodified.
ALLOWED = re.compile(
    r"(MIT(-0| License)?|Apache(-2\.0| Software License)|BSD(-[23]-Clause| License)|3-Clause BSD License|PSF-2\.0"
    r"|ISC( License \(ISCL\))?|Mozilla Public License 2\.0 \(MPL 2\.0\)|MPL-2\.0)"
)


@dataclass(frozen=True, order=True)
class Locked:
    name: str
    version: str
    hashes: tuple[str, ...]


def locked(service: str) -> list[Locked]:
    """Returns the packages that the service's lock has for any platform, without our own packages."""
    lock = tomllib.loads((ROOT / service / "poetry.lock").read_text())
    return sorted(
        Locked(package["name"], package["version"], tuple(file["hash"] for file in package["files"]))
        for package in lock["package"]
        if package.get("source", {}).get("type") != "directory"
    )


def audit(*, if_reachable: bool) -> int:
    packages = {(each.name, each.version) for service in SERVICES for each in locked(service)}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write("\n".join(f"{name}=={version}" for name, version in sorted(packages)))
        requirements.flush()
        done = _run(
            *("pip-audit", "--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off"),
            f"--requirement={requirements.name}",
        )
    try:
        found = json.loads(done.stdout)["dependencies"]
    except ValueError:
        found = []
    # If the index has no vulnerability records, pip-audit only reports that it has skipped the package.
    checked = [each for each in found if "skip_reason" not in each]
    for each in checked:
        for vulnerability in each["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in {fixed}")
    print(f"{len(checked)} of {len(packages)} locked packages were checked for known vulnerabilities.")
    if any(each["vulns"] for each in checked):
        return 1
    if len(checked) < len(packages):
        reason = next((each["skip_reason"] for each in found if "skip_reason" in each), "")
        reason = reason or (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"NOT CHECKED: {len(packages) - len(checked)} packages. {reason}", file=sys.stderr)
        return 0 if if_reachable else NOT_CHECKED
    return 0


def licences() -> int:
    names = sorted({each.name for service in SERVICES for each in locked(service)})
    done = _run("pip-licenses", "--from=mixed", "--format=json", "--packages", *names)
    forbidden = 0
    for package in json.loads(done.stdout):
        # One allowed alternative (OR) is enough; licences that apply together (AND) must all be allowed.
        is_allowed = any(
            all(ALLOWED.fullmatch(part.strip()) for part in re.split(r" AND |;", alternative))
            for alternative in package["License"].split(" OR ")
        )
        forbidden += not is_allowed
        remark = "" if is_allowed else "   NOT ALLOWED"
        print(f"{package['Name']:<42} {package['Version']:<12} {package['License']}{remark}")
    return 1 if forbidden else 0


def sbom() -> int:
    folder = ROOT / "build" / "sbom"
    folder.mkdir(parents=True, exist_ok=True)
    for service in SERVICES:
        requirements = "\n".join(
            " ".join((f"{each.name}=={each.version}", *(f"--hash={digest}" for digest in each.hashes)))
            for each in locked(service)
        )
        done = _run("cyclonedx-py", "requirements", "-", "--output-reproducible", "--validate", given=requirements)
        if done.returncode:
            print(done.stderr, end="", file=sys.stderr)
            return 1
        bill = json.loads(done.stdout)
        project = tomllib.loads((ROOT / service / "pyproject.toml").read_text())["project"]
        bill["metadata"]["component"] = {
            "type": "application",
            "bom-ref": project["name"],
            "name": project["name"],
            "version": project["version"],
        }
        target = folder / f"{service}.cdx.json"
        target.write_text(json.dumps(bill, indent=2))
        print(target.relative_to(ROOT))
    return 0


def _run(program: str, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [PROGRAMS / program, *arguments], input=given, capture_output=True, text=True, check=False, cwd=ROOT
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("audit", "licences", "sbom"))
    parser.add_argument(
        "--if-reachable", action="store_true", help="exit with 0 if packages could not be checked, and report them"
    )
    arguments = parser.parse_args()
    match arguments.what:
        case "audit":
            sys.exit(audit(if_reachable=arguments.if_reachable))
        case "licences":
            sys.exit(licences())
        case "sbom":
            sys.exit(sbom())


if __name__ == "__main__":
    main()
