#!/usr/bin/env bash
# The full scale of `mnist`: a grid of widths and dropout, three seeds each, all written into the ledger. Arguments go to every run: runs/mnist_sweep.sh --data fashion_mnist
set -euo pipefail
for hidden in "512 256" "1024 1024" "2048 2048"; do
  for dropout in 0.2 0.4; do
    for seed in 0 1 2; do
      # shellcheck disable=SC2086
      era run mnist --scale full --hidden $hidden --dropout "$dropout" --seed "$seed" --record "$@"
    done
  done
done
era results mnist
