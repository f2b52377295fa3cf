#!/usr/bin/env bash
# Trains the bundled boundary head from a VOC-like folder, tags only.
#
#   benchmarks/train_boundaries.sh DATA RUNS
#
# DATA: JPEGImages, labels.csv, classes.txt, ImageSets/train.txt. Seeds are made by CPMC with the bundled weights, the
# head learns from their confident parts: no mask of any photo is read. About 20 minutes on 2 cores. An interrupted call
# goes on where it was. RUNS/boundaries/weights.safetensors is weights/boundaries_resnet50_voc_animals.safetensors.
set -euo pipefail
data=$1 runs=$2
pseudomask extract "$data/JPEGImages" "$runs/cpmc_train" --method cpmc --tta fast --refine none \
  --labels "$data/labels.csv" --class-file "$data/classes.txt" --list "$data/ImageSets/train.txt"
pseudomask train-affinity "$data/JPEGImages" "$runs/cpmc_train" "$runs/boundaries" \
  --data-name "VOC 2012 animal subset, train (457 photos)" \
  --license "MIT; trained on PASCAL VOC 2012 photos (Flickr, for research)"
