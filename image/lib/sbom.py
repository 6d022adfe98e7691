"""Writes what is in an image, as CycloneDX JSON: Debian packages and crates, with versions."""

import json
import re
import sys
import tomllib
from datetime import datetime, timezone


def main() -> None:
    """Arguments: list of packages, Cargo.lock, board, version, time of the commit."""
    packages, lock, board, version, epoch = sys.argv[1:6]
    components = []
    with open(packages, encoding="utf-8") as lines:
        for line in lines:
            name, release, _file, digest = line.split()
            components.append(
                {
                    "type": "library",
                    "name": name,
                    "version": release,
                    "purl": f"pkg:deb/debian/{name}@{release}",
                    "hashes": [{"alg": "SHA-256", "content": digest}],
                }
            )
    with open(lock, "rb") as file:
        for crate in tomllib.load(file)["package"]:
            if "source" not in crate:
                continue
            entry = {
                "type": "library",
                "name": crate["name"],
                "version": crate["version"],
                "purl": f"pkg:cargo/{crate['name']}@{crate['version']}",
            }
            if re.fullmatch("[0-9a-f]{64}", crate.get("checksum", "")):
                entry["hashes"] = [{"alg": "SHA-256", "content": crate["checksum"]}]
            components.append(entry)
    made = datetime.fromtimestamp(int(epoch), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": made,
            "component": {"type": "firmware", "name": f"roundel-{board}", "version": version},
        },
        "components": components,
    }
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()


main()
