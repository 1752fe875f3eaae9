"""Networks: the plain U-Net of the articles, any network of segmentation-models-pytorch, and their checkpoints."""
