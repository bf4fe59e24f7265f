#!/usr/bin/env bash
# Evaluates a classifier on several GPUs: tools/dist_evaluate.sh CONFIG CHECKPOINT GPUS [options of tools/evaluate.py]
# Several machines are as for tools/dist_test.sh.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,3p' "$0" | cut -c3- >&2; exit 2; }
TOOL=evaluate.py exec "$(dirname "$0")/dist_test.sh" "$@"
