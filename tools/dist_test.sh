#!/usr/bin/env bash
# Evaluates on the GPUs of this machine, or of several: tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# On N machines start it on each, with NNODES=N, NODE_RANK=0..N-1 and MASTER_ADDR=<the first machine>.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,3p' "$0" | cut -c3- >&2; exit 2; }
config=$1 checkpoint=$2 gpus=$3
shift 3
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$gpus" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/${TOOL:-test.py}" "$config" "$checkpoint" --launcher pytorch "$@"
