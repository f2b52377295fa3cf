#!/usr/bin/env bash
# Trains the bundled weights from a VOC-like folder, tags only, and measures CAM and ReCAM on it.
#
#   benchmarks/train_bundled.sh DATA BACKBONE RUNS [SEED …]
#
# DATA: JPEGImages, labels.csv, classes.txt, ImageSets/{train_aug,train,val}.txt, SegmentationClass.
# BACKBONE: a caffe-style ImageNet ResNet-50 in safetensors. About 25 minutes a seed on 2 cores, and
# 20 more to measure. An interrupted call goes on where it was.
set -euo pipefail
data=$1 backbone=$2 runs=$3
seeds=("${@:4}")
[ ${#seeds[@]} -gt 0 ] || seeds=(0)
common=(--labels "$data/labels.csv" --class-file "$data/classes.txt" --list "$data/ImageSets/train_aug.txt"
  --crop 320 --min-side 240 --max-side 480
  --data-name "VOC 2012 animal subset, train_aug (2,087 photos)"
  --license "MIT; trained on PASCAL VOC 2012 photos (Flickr, for research)")
pairs=()
for seed in "${seeds[@]}"; do
  pseudomask train-cls "$data/JPEGImages" "$runs/cls$seed" "${common[@]}" --seed "$seed" \
    --backbone-weights "$backbone" --backbone-style caffe --freeze layer2 --epochs 5 --start random --patience 0
  pseudomask reactivate "$data/JPEGImages" "$runs/recam$seed" "${common[@]}" --seed "$seed" \
    --weights "$runs/cls$seed/weights.safetensors"
  pairs+=(--pair "$runs/cls$seed/weights.safetensors:$runs/recam$seed/weights.safetensors")
done
python -m benchmarks.seeds "$data" "${pairs[@]}" --json "$runs/seeds.json"
