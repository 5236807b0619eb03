#!/usr/bin/env bash
# Distil nano into 4 steps by consistency (LCM-LoRA) on phantoms, then draw with the adapter beside the base in as few
# steps, and beside the base as it usually draws.
#   bash runs/distill-consistency.sh OUT [any flag of the distillation, such as --steps 400]
# Some minutes on a CPU core with AVX-512 BF16. After 40 steps over 240 pairs organs and glands are sharp in 4 steps, but
# the distance from the teacher went up, from 0.71 after 10 steps to 0.83 (the base under guidance: 0.70). With 50 solver
# steps and a learning rate of 5e-4 it fell apart within 60 steps; which of the two did it was not tried apart. It is a
# start to tune from, not a result.
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1
out="$1"
python="${PYTHON:-python}"

vesalius data phantom --num 600 --seed 31 --val 0.1 --test 0 --size 128 --hounsfield --out "$out/phantoms"
"$python" -m vesalius.finetune.distill.run --method consistency --data "$out/phantoms" --base nano --out "$out/fast" \
  --num-pairs 240 --num-validation 16 --guidance 3 --solver-steps 10 --steps 40 --batch-size 8 --warmup 5 \
  --learning-rate 2e-4 --save-every 20 --validate-every 10 \
  "${@:2}"
prompts=("Chest CT with a nodule in the left lung" "Brain MRI with a mass on the right" "H&E tile with many glands")
vesalius generate "${prompts[@]}" --num 4 --seed 1 --adapter "$out/fast" --out "$out/samples-fast"
vesalius generate "${prompts[@]}" --num 4 --seed 1 --steps 4 --out "$out/samples-base-4"
vesalius generate "${prompts[@]}" --num 4 --seed 1 --out "$out/samples-base"
cat "$out/fast/validation.json"  # ratio: how far the student is from its teacher, beside the base in as few steps
