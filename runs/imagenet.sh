#!/usr/bin/env bash
# ResNet-50 on ImageNet with torchrun, on the GPUs of one machine or of several. DATA is a folder with train and val (class folders or shards).
#   DATA=/data/imagenet runs/imagenet.sh --recipe 16
#   DATA=… NODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 runs/imagenet.sh --recipe 88   (likewise on the second, with NODE_RANK=1)
# Arguments go to `era run imagenet`. When a process dies, torchrun starts all again, and `era run` goes on from the last checkpoint; `--resume last` goes on
# with a run that was stopped as a whole.
set -euo pipefail
: "${DATA:?set DATA to the folder with train and val}"
processes=${PROCESSES:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}
if [ "$processes" -lt 1 ]; then echo "imagenet.sh: no GPU found; PROCESSES=2 starts two processes on the CPU" >&2; exit 2; fi
meet=(--standalone)
if [ "${NODES:-1}" -gt 1 ]; then
  meet=(--nnodes "$NODES" --node-rank "${NODE_RANK:?}" --master-addr "${MASTER_ADDR:?}" --master-port "${MASTER_PORT:-29500}")
fi
exec torchrun "${meet[@]}" --nproc-per-node "$processes" --max-restarts "${RESTARTS:-5}" -m era_nbdev.core.cli \
  run imagenet --scale "${SCALE:-full}" --data "$DATA" --out "${OUT:-era_runs/imagenet-full}" "$@"
