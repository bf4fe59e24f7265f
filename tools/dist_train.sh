#!/usr/bin/env bash
# Trains on the GPUs of this machine, or of several: tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# On N machines start it on each, with NNODES=N, NODE_RANK=0..N-1 and MASTER_ADDR=<the first machine>.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,3p' "$0" | cut -c3- >&2; exit 2; }
config=$1 gpus=$2
shift 2
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$gpus" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/${TOOL:-train.py}" "$config" --launcher pytorch "$@"
