#!/usr/bin/env bash
# Does nano draw what the prompt says? Prompts of phantoms it was never trained on, scored by the embedded judge, whose
# own error on the phantoms themselves stands beside.
#   bash runs/score-prompts.sh OUT
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1
out="$1"
vesalius data phantom --num 900 --seed 77 --val 0.2 --test 0.5 --out "$out/phantoms"
vesalius generate --prompts "$out/phantoms/test/metadata.jsonl" --seed 3 --out "$out/samples"
vesalius eval "$out/samples" --real "$out/phantoms" --out "$out/eval"
cat "$out/eval/report.md"
