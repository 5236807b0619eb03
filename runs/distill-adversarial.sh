#!/usr/bin/env bash
# Distil nano into 4 steps by an adversary (ADD, LADD) on phantoms, then draw with the adapter beside the base in as few
# steps, and beside the base as it usually draws.
#   bash runs/distill-adversarial.sh OUT [any flag of the distillation, such as --steps 400]
# Some minutes on a CPU core with AVX-512 BF16. After 50 steps over 240 pairs pictures are over-sharp, grainy where nothing
# is, and findings are fainter; the distance from the teacher went up, from 0.28 to 0.46 (the base under guidance: 0.40).
# It is a start to tune from, not a result.
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1
out="$1"
python="${PYTHON:-python}"

vesalius data phantom --num 600 --seed 31 --val 0.1 --test 0 --size 128 --hounsfield --out "$out/phantoms"
"$python" -m vesalius.finetune.distill.run --method adversarial --data "$out/phantoms" --base nano --out "$out/fast" \
  --num-pairs 240 --num-validation 16 --guidance 3 --steps 50 --batch-size 8 --learning-rate 2e-4 --save-every 20 \
  --validate-every 10 \
  "${@:2}"
prompts=("Chest CT with a nodule in the left lung" "Brain MRI with a mass on the right" "H&E tile with many glands")
vesalius generate "${prompts[@]}" --num 4 --seed 1 --adapter "$out/fast" --out "$out/samples-fast"
vesalius generate "${prompts[@]}" --num 4 --seed 1 --steps 4 --out "$out/samples-base-4"
vesalius generate "${prompts[@]}" --num 4 --seed 1 --out "$out/samples-base"
cat "$out/fast/validation.json"  # ratio: how far the student is from its teacher, beside the base in as few steps
