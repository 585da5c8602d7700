"""Stands for traiNNer/data: datasets are built from an option struct, and their items are dicts of lq and gt."""

import random
from pathlib import Path

import torch
from torch.utils.data import Dataset

from sr_hooks.images.image import read_image


class PairedImageDataset(Dataset):
    def __init__(self, opt):
        self.opt = opt
        self.paths = [{"lq_path": str(path)} for folder in opt.dataroot_lq for path in Path(folder).glob("*.png")]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        lq_path = Path(self.paths[index]["lq_path"])
        lq, gt = read_image(lq_path)[0], read_image(Path(self.opt.dataroot_gt[0]) / lq_path.name)[0]
        if self.opt.phase == "train":
            size, scale = self.opt.lq_size, self.opt.scale
            top, left = (random.randrange(side - size + 1) for side in lq.shape[-2:])
            lq = lq[:, top : top + size, left : left + size]
            gt = gt[:, top * scale : (top + size) * scale, left * scale : (left + size) * scale]
            if random.random() < 0.5:
                lq, gt = lq.flip(-1), gt.flip(-1)
        return {"lq": torch.as_tensor(lq), "gt": gt, "lq_path": str(lq_path), "gt_path": str(lq_path)}


def build_dataset(dataset_opt):
    return {"PairedImageDataset": PairedImageDataset}[dataset_opt.type](dataset_opt)
