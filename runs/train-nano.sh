#!/usr/bin/env bash
# Train everything that ships, from phantoms and real images: autoencoder, text encoder, denoiser, its 4-step adapter,
# and the networks that judge and measure them.
#   bash runs/train-nano.sh OUT
# The real images come from $VESALIUS_PACK, one file under 20 MB that `python -m vesalius.finetune.feeding.pack` makes (train and
# val only), or from $VESALIUS_REAL_DATA, the folder that holds radiology/, ct/ and pathology/. Phantoms are remade from
# their seed. Every stage resumes by the same line; a finished one is passed over. On several GPUs:
#   LAUNCH="accelerate launch --multi_gpu --num_processes 8 -m" bash runs/train-nano.sh OUT
# TRIAL=1000 makes a thousandth of each step over a few hundred images: whether the chain holds, in a quarter of an hour.
# Cost on one CPU core with AVX-512 BF16: see the table in docs/results.md.
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1
out="$1"
python="${PYTHON:-python}"
launch="${LAUNCH:-$python -m}"
trial="${TRIAL:-1}"
less() { echo $(($1 / trial > $2 ? $1 / trial : $2)); }  # a number of the whole chain, in a trial no less than the second
steps="$(less "${STEPS:-12000}" 4)"

vesalius data phantom --num "$(less 60000 240)" --seed 1 --val 0.03 --test 0.03 --size 128 --hounsfield \
  --out "$out/phantoms"
if [ -n "${VESALIUS_PACK:-}" ]; then
  [ -f "$out/real/manifest.json" ] || "$python" -m vesalius.finetune.feeding.pack --unpack "$VESALIUS_PACK" --out "$out/real"
else
  [ -f "$out/real/manifest.json" ] || vesalius data build "$VESALIUS_REAL_DATA"/{radiology,ct,pathology} \
    --keep-identifiers --out "$out/real"  # open sets: their texts name nobody, and names of files say the source
fi
real="$out/real"
if [ "$trial" -gt 1 ]; then
  real="$out/real-few"
  vesalius data sample "$out/real" --num 400 --balance modality split --out "$real"
fi
data=(--data "$out/phantoms" "$real")

"$python" -m vesalius.finetune.base.autoencoder "${data[@]}" --out "$out/autoencoder" --steps "$(less 6000 4)"
"$python" -m vesalius.finetune.base.text --data "$real" --out "$out/text" --steps "$(less 3500 4)"
# Layout is learnt at half the size, where a step costs half as much, then detail at the size that ships.
$launch vesalius.finetune.base.denoiser "${data[@]}" --autoencoder "$out/autoencoder/vae" --text "$out/text" \
  --out "$out/base-64" --steps "$((steps / 2))" --sizes.image-size 64
# Findings of brain MRI are learnt more slowly than others.
$launch vesalius.finetune.base.denoiser "${data[@]}" --init "$out/base-64/base" --out "$out/base" --steps "$steps" --weigh MRI=2
"$python" -m vesalius.finetune.base.support "${data[@]}" --out "$out/base/base"
"$python" -m vesalius.finetune.distill.run "${data[@]}" --base "$out/base/base" --out "$out/fast" --steps "$(less 1500 4)" \
  --num-trajectories "$(less 2000 32)" --num-validation "$(less 64 16)"
"$python" -m vesalius.finetune.judges.judge "${data[@]}" --out "$out/judge" --steps "$(less 1200 4)"
"$python" -m vesalius.finetune.judges.witness "${data[@]}" --out "$out/witness" --steps "$(less 3000 4)"
"$python" -m vesalius.finetune.judges.reader --data "$out/phantoms" --out "$out/reader" --steps "$(less 3000 4)"
echo "look at $out/base/base, then copy it to models/nano, and the other folders beside it, to ship them"
