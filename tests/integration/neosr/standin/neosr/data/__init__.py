"""Stands for neosr/data: paired images of option mappings, with random crops and flips."""

import random
from copy import deepcopy
from pathlib import Path

from torch.utils.data import Dataset

from sr_hooks.images.image import read_image


class paired(Dataset):
    def __init__(self, opt):
        self.opt = opt
        self.paths = [{"lq_path": str(path)} for path in sorted(Path(opt["dataroot_lq"]).glob("*.png"))]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        lq_path = Path(self.paths[index]["lq_path"])
        lq, gt = read_image(lq_path)[0], read_image(Path(self.opt["dataroot_gt"]) / lq_path.name)[0]
        if self.opt["phase"] == "train":
            size, scale = self.opt["patch_size"], self.opt["scale"]
            top, left = (random.randrange(side - size + 1) for side in lq.shape[-2:])
            lq = lq[:, top : top + size, left : left + size]
            gt = gt[:, top * scale : (top + size) * scale, left * scale : (left + size) * scale]
            if random.random() < 0.5:
                lq, gt = lq.flip(-1), gt.flip(-1)
        return {"lq": lq, "gt": gt, "lq_path": str(lq_path), "gt_path": str(lq_path)}


def build_dataset(dataset_opt):
    dataset_opt = deepcopy(dataset_opt)
    return {"paired": paired}[dataset_opt["type"]](dataset_opt)
