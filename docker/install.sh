#!/bin/sh
# Installs the server with everything it may load into a new environment. Both images run it, and a test does.
#   docker/install.sh cpu|cuda ENVIRONMENT
set -eu
cd "$(dirname "$0")/.."
flavour=$1 environment=$2
case $flavour in
cpu) set -- --torch-backend cpu --override docker/cpu-overrides.txt faiss-cpu ;;
cuda) set -- ;;
*) echo "docker/install.sh: '$flavour' given, must be cpu or cuda" >&2; exit 2 ;;
esac
uv venv --quiet --python "${PYTHON:-python3}" "$environment"
# With its bytecode: in the image nobody may write it, and every start would compile all modules.
uv pip install --quiet --compile-bytecode --python "$environment/bin/python" --constraint constraints.txt "$@" \
	'.[starter,sentence,analysis,parquet]' ./protos ./client './server[tracing]'
