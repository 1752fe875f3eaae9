"""Squares in noise, and a network of two numbers that learns to find them."""

import torch

from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss


def draw_squares(seed, *, n_images=4, contrast=2.0):
    """Draw a square of 4 × 4 in each image of 16 × 16; features are twice as bright there, with noise of 1."""
    generator = torch.Generator().manual_seed(seed)
    planes = torch.zeros(n_images, 1, 16, 16)
    for plane in planes[:, 0]:
        row, column = torch.randint(0, 12, (2,), generator=generator).tolist()
        plane[row : row + 4, column : column + 4] = 1
    return contrast * planes + torch.randn(planes.shape, generator=generator), planes


def learn(start, *, steps, **terms):
    """Fit logits = a·feature + b to drawn squares with the terms given, and no other; gives (a, b)."""
    features, planes = draw_squares(0)
    loss = SegmentationLoss(LossSettings(**{"cross_entropy": 0, "dice": 0, **terms}), ("mask",), "sigmoid")
    line = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.Adam([line], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        value, _ = loss(line[0] * features + line[1], planes, torch.ones(4, 16, 16))
        value.backward()
        optimizer.step()
    return tuple(line.tolist())


def judge(line):
    """Measure the IoU and the recall of (a, b) on squares that were not learned from."""
    features, planes = draw_squares(1, n_images=8)
    found, true = line[0] * features + line[1] > 0, planes > 0.5
    shared = (found & true).sum().item()
    return shared / (found | true).sum().item(), shared / true.sum().item()
