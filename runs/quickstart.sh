#!/usr/bin/env bash
# The main job with no download: phantoms with reports -> adapter -> CT, MRI and pathology images -> gates -> second adapter -> one page.
set -euo pipefail
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1
out="${1:-quickstart}"

vesalius data phantom --num 600 --seed 20 --out "$out/data"
vesalius improve run runs/quickstart.toml --data "$out/data" --out "$out/loop"
