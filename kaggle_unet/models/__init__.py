"""Networks: the plain U-Net of the articles, anything of segmentation-models-pytorch, and their checkpoints."""
