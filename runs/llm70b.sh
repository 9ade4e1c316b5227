#!/usr/bin/env bash
# The 70B with torchrun, on the GPUs of this machine and of NODES-1 others. FOLDER holds log and checkpoints, DATA the token shards; all machines see both.
#   FOLDER=/shared/llm70b DATA=/shared/tokens NODES=32 NODE_RANK=0 MASTER_ADDR=10.0.0.1 runs/llm70b.sh   (likewise on the others, with their NODE_RANK)
#   PROCESSES=2 SCALE=smoke FOLDER=/tmp/rehearsal runs/llm70b.sh --no-marathon --device cpu   (a rehearsal without GPUs)
# Arguments go to `era run llm70b`. When a process dies, torchrun starts all again, and each goes on from the newest good checkpoint in FOLDER.
set -euo pipefail
: "${FOLDER:?set FOLDER to a folder that all machines see}"
processes=${PROCESSES:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}
if [ "$processes" -lt 1 ]; then echo "llm70b.sh: no GPU found; PROCESSES=2 SCALE=smoke starts a rehearsal on the CPU" >&2; exit 2; fi
scale=${SCALE:-full}
data=()
if [ "$scale" = full ]; then data=(--data "${DATA:?set DATA to the folder of token shards}"); fi
meet=(--standalone)
if [ "${NODES:-1}" -gt 1 ]; then
  meet=(--nnodes "$NODES" --node-rank "${NODE_RANK:?}" --master-addr "${MASTER_ADDR:?}" --master-port "${MASTER_PORT:-29500}")
fi
run=(-m era_nbdev.core.cli run llm70b --scale "$scale" --folder "$FOLDER" --out "${OUT:-$FOLDER/runs}" "${data[@]}" "$@")
python "${run[@]}" --plan >/dev/null # a wrong setting ends here, in one line, and not after 20 restarts
exec torchrun "${meet[@]}" --nproc-per-node "$processes" --max-restarts "${RESTARTS:-20}" "${run[@]}"
