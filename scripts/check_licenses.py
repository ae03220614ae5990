#!/usr/bin/env python3
"""Refuses a dependency whose licence is not on the list. Runs offline, from what Cargo resolved.

Advisories need a database that is fetched from the network, so they are not checked here.
"""

import re
import subprocess
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "CC0-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "Unicode-3.0", "Unlicense", "Zlib",
}


def allowed(expression: str) -> bool:
    """SPDX: every AND part needs one OR part that is on the list. The old `/` means OR."""
    if not expression:
        return False
    expression = expression.replace("/", " OR ").strip()
    while True:
        flat = re.sub(r"\(([^()]*)\)", lambda m: "0BSD" if allowed(m[1]) else "refused", expression)
        if flat == expression:
            break
        expression = flat
    parts = re.split(r"\s+AND\s+", expression)
    return all(any(one.strip() in ALLOWED for one in re.split(r"\s+OR\s+", part)) for part in parts)


def main() -> int:
    # Of this platform only: Cargo has downloaded those, and no others.
    command = ["cargo", "tree", "--workspace", "--locked", "--offline", "--prefix", "none", "--format", "{p}|{l}"]
    tree = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    packages = {tuple(line.removesuffix(" (*)").split("|")) for line in tree.splitlines() if "|" in line}
    refused = sorted(f"{name}: {license or 'none named'}" for name, license in packages if not allowed(license))
    for line in refused:
        print(f"error: licence not on the list: {line}", file=sys.stderr)
    print(f"{len(packages)} packages, {len(refused)} refused")
    return 1 if refused else 0


if __name__ == "__main__":
    assert allowed("MIT OR GPL-3.0") and allowed("(MIT OR Apache-2.0) AND Unicode-3.0")
    assert not allowed("GPL-3.0") and not allowed("MIT AND GPL-3.0") and not allowed("")
    sys.exit(main())
