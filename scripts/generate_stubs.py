"""Generates contracts/generated from contracts/proto. With --check, fails if the two differ."""

import argparse
import filecmp
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

CONTRACTS = Path(__file__).parent.parent / "contracts"
PROTO = CONTRACTS / "proto"
GENERATED = CONTRACTS / "generated"


def generate(target: Path) -> None:
    """Writes the stubs of every .proto file below `target`. Raises SystemExit if protoc rejects one."""
    well_known_types = Path(protoc.__file__).parent / "_proto"
    scripts = Path(sys.executable).parent
    sources = sorted(str(path) for path in PROTO.rglob("*.proto"))
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={well_known_types}",
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            f"--python_out={target}",
            f"--mypy_out=quiet:{target}",
            f"--grpc_python_out={target}",
            f"--mypy_grpc_out=quiet:{target}",
            *sources,
        ]
    )
    if status:
        raise SystemExit(status)
    for package in {Path(source).parent.relative_to(PROTO) for source in sources}:
        (target / package / "py.typed").touch()


def differences(left: Path, right: Path) -> list[str]:
    """Returns the paths of files that differ or that only one of the two trees has."""
    names = {
        path.relative_to(tree)
        for tree in (left, right)
        for path in tree.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(
        str(name)
        for name in names
        if not (
            (left / name).is_file()
            and (right / name).is_file()
            and filecmp.cmp(left / name, right / name, shallow=False)
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the stubs are stale")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        stale = differences(Path(fresh), GENERATED)
        if arguments.check:
            if stale:
                sys.exit("The stubs do not match the .proto files; run `make stubs`. Stale: " + ", ".join(stale))
            return
        shutil.rmtree(GENERATED, ignore_errors=True)
        shutil.copytree(fresh, GENERATED)


if __name__ == "__main__":
    main()
