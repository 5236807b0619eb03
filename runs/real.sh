#!/usr/bin/env bash
# Fine-tune on the real images of one anatomy, and measure the adapter against the base on the test split, of which
# neither has seen an image.
#   bash runs/real.sh brain-mri OUT     or     bash runs/real.sh chest-ct OUT
# $VESALIUS_REAL_DATA is the folder that holds radiology/ and ct/ (images with metadata.jsonl).
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1
name="$1" out="$2"
case "$name" in
  brain-mri) sources=("$VESALIUS_REAL_DATA/radiology"); keep=(--modality MRI --organ brain) ;;
  chest-ct) sources=("$VESALIUS_REAL_DATA/radiology" "$VESALIUS_REAL_DATA/ct"); keep=(--modality CT --organ lung) ;;
  *) echo "no run is called '$name' (brain-mri, chest-ct)" >&2; exit 2 ;;
esac

mkdir -p "$out"
[ -f "$out/all/manifest.json" ] || vesalius data build "${sources[@]}" --out "$out/all"
[ -f "$out/data/manifest.json" ] || vesalius data filter "$out/all" "${keep[@]}" --out "$out/data"
vesalius finetune "runs/$name.toml" --data "$out/data" --out "$out/run"
for who in base adapter; do
  adapter=(); [ "$who" = base ] || adapter=(--adapter "$out/run")
  vesalius generate --prompts "$out/data/test/metadata.jsonl" --num 2 --seed 1 "${adapter[@]}" --out "$out/samples-$who"
  vesalius eval "$out/samples-$who" --real "$out/data" --out "$out/eval-$who"
  cat "$out/eval-$who/report.md"
done
