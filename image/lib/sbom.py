"""Writes what is in an image, as CycloneDX JSON: Debian packages and crates, with versions and
licences."""

import argparse
import json
import re
import subprocess
import sys
import tomllib
from datetime import datetime, timezone
from pathlib import Path


def licences_of_package(packages: Path, name: str) -> list[str]:
    """What the copyright file of an unpacked package names."""
    documents = packages / name / "usr/share/doc" / name
    if documents.is_symlink():
        # A package built with another one may have its documents.
        other = documents.readlink().name
        documents = packages / other / "usr/share/doc" / other
    file = documents / "copyright"
    if not file.exists():
        found = sorted((packages / name).glob("usr/share/doc/*/copyright"))
        if not found:
            sys.exit(f"sbom.py: the package {name} has no copyright file")
        file = found[0]
    text = file.read_text(encoding="utf-8", errors="replace")
    # The machine-readable form, then older texts, which refer to the common licences.
    names = re.findall(r"^License: *(\S[^\n]*)$", text, re.MULTILINE)
    names = names or re.findall(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9])", text)
    if not names and "public domain" in text.lower():
        names = ["public-domain"]
    if not names:
        sys.exit(f"sbom.py: no licence is found in {file}")
    return sorted(set(names))


def linked_crates(target: str) -> list[dict]:
    """The crates that the program or its build uses, not those of its tests alone."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    metadata = json.loads(output)
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    seen, todo = set(), [root]
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        for dependency in nodes[at]["deps"]:
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    crates = [package for package in metadata["packages"] if package["id"] in seen - {root}]
    return sorted(crates, key=lambda crate: (crate["name"], crate["version"]))


def component(name: str, version: str, purl: str, digest: str | None, licences: list) -> dict:
    """An entry of the list."""
    entry = {"type": "library", "name": name, "version": version, "purl": purl, "licenses": licences}
    if digest:
        entry["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return entry


def main() -> None:
    """Prints the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("list", type=Path, help="name, version, file and SHA-256 of each package")
    parser.add_argument("packages", type=Path, help="where they are unpacked")
    parser.add_argument("target", help="what the program was built for")
    parser.add_argument("board")
    parser.add_argument("version")
    parser.add_argument("epoch", type=int, help="time of the commit")
    parser.add_argument("--lagging-archive", action="store_true")
    given = parser.parse_args()
    components = []
    for line in given.list.read_text(encoding="utf-8").splitlines():
        name, release, _file, digest = line.split()
        names = licences_of_package(given.packages, name)
        licences = [{"license": {"name": each}} for each in names]
        components.append(
            component(name, release, f"pkg:deb/debian/{name}@{release}", digest, licences)
        )
    lock = tomllib.loads(Path("Cargo.lock").read_text(encoding="utf-8"))["package"]
    digests = {(each["name"], each["version"]): each.get("checksum") for each in lock}
    for crate in linked_crates(given.target):
        name, release = crate["name"], crate["version"]
        # An older form of "or".
        terms = (crate["license"] or "").replace("/", " OR ")
        if not terms:
            sys.exit(f"sbom.py: the crate {name} {release} names no licence")
        components.append(
            component(
                name,
                release,
                f"pkg:cargo/{name}@{release}",
                digests[name, release],
                [{"expression": re.sub(" +", " ", terms)}],
            )
        )
    made = datetime.fromtimestamp(given.epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    board = {"type": "firmware", "name": f"roundel-{given.board}", "version": given.version}
    metadata: dict = {"timestamp": made, "component": board}
    if given.lagging_archive:
        metadata["properties"] = [{"name": "roundel:archive", "value": "lagging"}]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": metadata,
        "components": components,
    }
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()


main()
