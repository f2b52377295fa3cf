#!/usr/bin/env bash
# From tags to a segmentation network, and what that network loses against true masks.
#
#   examples/closes_the_loop.sh DATA BACKBONE OUT [SEED …]
#
# Masks of the train photos are made from their tags (cpmc, crf, a threshold that sees no true mask) and exported;
# DeepLabV3 is trained twice with one schedule, on these masks and on the true ones; both are measured on val.
#
# DATA: JPEGImages, labels.csv, classes.txt, ImageSets/{train,val}.txt, SegmentationClass (VOC 2012, or laid out like it).
# BACKBONE: `imagenet` for the ResNet-50 that comes with pseudomask, or a file of weights as for train-seg.
# Run it again to resume after an interruption. OUT/recipe.json holds the result.
set -euo pipefail
data=$1 backbone=$2 out=$3
seeds=("${@:4}")
[ ${#seeds[@]} -gt 0 ] || seeds=(0)
epochs=${EPOCHS:-6} crop=${CROP:-225} workers=${WORKERS:-0}
classes=${CLASSES:-background,cat,cow,dog,horse,sheep,person}
here=$(dirname "$0")

pseudomask extract "$data/JPEGImages" "$out/seeds" --method cpmc --tta balanced --refine none --labels "$data/labels.csv" \
  --class-file "$data/classes.txt" --list "$data/ImageSets/train.txt"
pseudomask refine "$data/JPEGImages" "$out/seeds" "$out/masks" --method crf --threshold auto
pseudomask export "$out/masks" "$out/exported" --format voc --link --overwrite
pseudomask evaluate "$out/masks" "$data/SegmentationClass" --list "$data/ImageSets/train.txt" \
  --classes "$classes" --json-file "$out/masks.json"

for seed in "${seeds[@]}"; do
  for which in tags true; do
    if [ $which = tags ]; then
      source=("$out/exported")
    else
      source=("$data/SegmentationClass" --images "$data/JPEGImages" --class-file "$data/classes.txt"
        --list "$data/ImageSets/train.txt")
    fi
    run=$out/$which$seed
    pseudomask train-seg "${source[0]}" "$run" "${source[@]:1}" --val-fraction 0 --backbone-weights "$backbone" \
      --crop "$crop" --epochs "$epochs" --seed "$seed" --workers "$workers"
    pseudomask predict "$data/JPEGImages" "$run/val" --weights "$run/weights.safetensors" \
      --list "$data/ImageSets/val.txt"
    pseudomask evaluate "$run/val" "$data/SegmentationClass" --list "$data/ImageSets/val.txt" \
      --classes "$classes" --json-file "$run/val.json"
  done
done
python "$here/../benchmarks/recipe.py" "$out" "${seeds[@]}"
