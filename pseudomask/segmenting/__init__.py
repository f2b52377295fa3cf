"""The verbs train-seg, predict and export-model: the segmentation network that is trained on masks."""
