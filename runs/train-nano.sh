#!/usr/bin/env bash
# Train everything that ships: autoencoder, base (tokenizer, text encoder, denoiser) and judge, from phantoms and real images.
#   bash runs/train-nano.sh OUT
# $VESALIUS_REAL_DATA is the folder that holds radiology/, ct/ and pathology/. Every stage resumes by the same line.
# Brain MRI and chest CT stay unseen by the base, so that fine-tuning on them can be measured; fundus stays out because
# some of its labels carry a share-alike licence. On 2 CPU cores: about 20 min, 90 min and 15 min.
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1
out="$1"
python="${PYTHON:-python}"
unseen=(--exclude fundus MRI/brain CT/lung CT/trunk)

vesalius data phantom --num 12000 --seed 1 --val 0.03 --test 0.03 --out "$out/phantoms"
[ -f "$out/real/manifest.json" ] || vesalius data build "$VESALIUS_REAL_DATA"/{radiology,ct,pathology} --out "$out/real"
data=(--data "$out/phantoms" "$out/real")

"$python" -m vesalius.finetune.autoencoder "${data[@]}" "${unseen[@]}" --out "$out/autoencoder" --steps 1500
"$python" -m vesalius.finetune.base "${data[@]}" "${unseen[@]}" --autoencoder "$out/autoencoder/vae" \
  --out "$out/base" --steps 6000 --real-share 0.25
"$python" -m vesalius.finetune.judge "${data[@]}" --exclude fundus --out "$out/judge" --steps 900
echo "look at $out/base/base and $out/judge/judge; copy them to models/nano and models/judge to ship them"
