"""Arguments of small image super-resolution networks of BasicSR."""

from __future__ import annotations

from typing import Any

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "MSRResNet": {"num_feat": 16, "num_block": 2, "upscale": 4},
    "EDSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 2, "upscale": 2},
    "RCAN": {
        "num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_group": 2, "num_block": 2, "squeeze_factor": 4,
        "upscale": 2,
    },
    "RRDBNet": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 1, "num_grow_ch": 8, "scale": 4},
    "SwinIR": {
        "upscale": 2, "img_size": 24, "window_size": 8, "depths": [2], "embed_dim": 12, "num_heads": [2],
        "mlp_ratio": 2, "upsampler": "pixelshuffle",
    },
    "SRVGGNetCompact": {"num_feat": 16, "num_conv": 4, "upscale": 4},
    "ECBSR": {
        "num_in_ch": 3, "num_out_ch": 3, "num_block": 2, "num_channel": 8, "with_idt": False, "act_type": "prelu",
        "scale": 2,
    },
    "RIDNet": {"in_channels": 3, "mid_channels": 16, "out_channels": 3, "num_block": 1},
}  # fmt: skip
