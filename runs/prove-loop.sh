#!/usr/bin/env bash
# Is the self-improvement loop worth it? Five arms over three seeds on phantoms, whose truth is known, then one page.
#   bash runs/prove-loop.sh OUT
# Each arm and seed is a run of its own of under half an hour on two CPU cores, and resumes by the same line; what is
# done is passed over. ARMS and SEEDS choose some of them, so that several machines share the work over one OUT.
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1
out="$1"
python="${PYTHON:-python}"

vesalius data phantom --num 3000 --seed 4000 --val 0.3 --test 0.1 --hounsfield --out "$out/phantoms"
for seed in ${SEEDS:-0 1 2}; do
  for arm in ${ARMS:-loop collapse guarded longer repeated}; do
    [ -f "$out/$arm-$seed/result.json" ] || "$python" -m vesalius.improve.proof.arms --arm "$arm" --seed "$seed" \
      --data "$out/phantoms" --like "$out/loop-$seed/result.json" --out "$out/$arm-$seed"
  done
done
"$python" -m vesalius.improve.proof.page --results "$out"/*/result.json --out "$out/page"
echo "look at $out/page/proof.html"
