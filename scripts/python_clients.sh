#!/usr/bin/env bash
# Installs OpenTelemetry's SDK for Python, validators of OpenAPI and JSON Schema, DuckDB and pyarrow into a folder of
# its own; then sends with the first and asks all of the API, whose answers the validators look at (python_clients.py),
# and reads segments with the others (read_segments.py).
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
    'opentelemetry-exporter-otlp-proto-http>=1.27,<2' \
    'openapi-spec-validator>=0.7,<1' \
    'jsonschema>=4.18,<5' \
    'duckdb>=1.1,<3' \
    'pyarrow>=17'
"$venv/bin/python" scripts/python_clients.py "$binary"
"$venv/bin/python" scripts/read_segments.py "$binary"
