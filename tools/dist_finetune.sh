#!/usr/bin/env bash
# Fine-tunes a classifier on several GPUs: tools/dist_finetune.sh CONFIG GPUS [options of tools/finetune.py]
# Several machines are as for tools/dist_train.sh.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,3p' "$0" | cut -c3- >&2; exit 2; }
TOOL=finetune.py exec "$(dirname "$0")/dist_train.sh" "$@"
