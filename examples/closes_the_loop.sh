#!/usr/bin/env bash
# From tags to a segmentation network, and what that network loses against true masks.
#
#   examples/closes_the_loop.sh DATA BACKBONE OUT [SEED …]
#
# The everyday call makes masks of the train photos from their tags; one network is trained twice with one schedule, on
# these masks and on the true ones; both are measured on val.
#
# DATA: JPEGImages, labels.csv, classes.txt, ImageSets/{train,val}.txt, SegmentationClass (VOC 2012, or laid out like it).
# BACKBONE: `imagenet` for the ResNet-50 that comes with pseudomask, or a file of weights as for train-seg.
# TRAIN_SEG holds other options of train-seg; JOBS networks are trained at once (1). Run it again to resume.
# OUT/recipe.json holds the result.
set -euo pipefail
data=$1 backbone=$2 out=$3
seeds=("${@:4}")
[ ${#seeds[@]} -gt 0 ] || seeds=(0)
classes=${CLASSES:-background,cat,cow,dog,horse,sheep,person}
here=$(dirname "$0")

pseudomask extract "$data/JPEGImages" "$out/masks" --labels "$data/labels.csv" \
  --class-file "$data/classes.txt" --list "$data/ImageSets/train.txt"
pseudomask export "$out/masks" "$out/exported" --format voc --link --overwrite
pseudomask evaluate "$out/masks" "$data/SegmentationClass" --list "$data/ImageSets/train.txt" \
  --classes "$classes" --json-file "$out/masks.json"

# Train, predict and measure one network: SEED tags|true
network() {
  local run=$out/$2$1 source schedule
  read -ra schedule <<<"$TRAIN_SEG"
  if [ "$2" = tags ]; then
    source=("$out/exported" "$run")
  else
    source=("$data/SegmentationClass" "$run" --images "$data/JPEGImages" --class-file "$data/classes.txt"
      --list "$data/ImageSets/train.txt")
  fi
  pseudomask train-seg "${source[@]}" --val-fraction 0 --backbone-weights "$backbone" --seed "$1" "${schedule[@]}"
  pseudomask predict "$data/JPEGImages" "$run/val" --weights "$run/weights.safetensors" --list "$data/ImageSets/val.txt"
  pseudomask evaluate "$run/val" "$data/SegmentationClass" --list "$data/ImageSets/val.txt" \
    --classes "$classes" --json-file "$run/val.json"
}
export -f network
export data backbone out classes TRAIN_SEG=${TRAIN_SEG:---crop 225 --epochs 6}

for seed in "${seeds[@]}"; do
  echo "$seed tags"
  echo "$seed true"
done | xargs -P "${JOBS:-1}" -L 1 bash -euc 'network "$@"' bash
python "$here/../benchmarks/recipe.py" "$out" "${seeds[@]}"
