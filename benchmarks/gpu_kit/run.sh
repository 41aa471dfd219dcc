#!/usr/bin/env bash
# What a GPU makes of Winnow, from this folder alone: run.sh OUT. OUT gets gpu.json, and a file of each part as it ends.
# Nothing is installed but into a temporary folder. PYTHON names another python3. --only NAME... takes some of the parts;
# --rehearse does without a GPU.
set -euo pipefail
kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:?"usage: run.sh OUT [--rehearse] [--only PART...] (OUT: a folder, which is made)"}
shift
python=${PYTHON:-python3}
driver=$kit/project/benchmarks/gpu.py
if [[ $kit == *:* ]]; then
    echo "run.sh: $kit has a colon in its name, at which Python parts its paths. Rename the folder." >&2
    exit 1
fi

"$python" "$driver" check --kit "$kit"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
install() {  # TARGET WHEEL...
    PIP_CONFIG_FILE=/dev/null "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
        --no-compile --no-cache-dir --target "$@"
}
install "$scratch/site" "$kit"/wheels/*.whl
if compgen -G "$kit/torchao/*.whl" > /dev/null; then
    install "$scratch/torchao" "$kit"/torchao/*.whl
fi
PYTHONPATH=$kit/project:$scratch/site${PYTHONPATH:+:$PYTHONPATH} "$python" "$driver" run --kit "$kit" --out "$out" --scratch "$scratch" "$@"
