#!/usr/bin/env bash
# Installs the Python SDK into a folder of its own and runs python_clients.py with it.
# Usage: scripts/python_clients.sh PATH-TO-TRACELAKE-BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:?the path of the tracelake binary}
venv=target/python-clients
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check \
    'opentelemetry-sdk>=1.27,<2' \
    'opentelemetry-exporter-otlp-proto-grpc>=1.27,<2' \
    'opentelemetry-exporter-otlp-proto-http>=1.27,<2'
exec "$venv/bin/python" scripts/python_clients.py "$binary"
