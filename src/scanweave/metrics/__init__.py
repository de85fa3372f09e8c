"""How near an estimate is to the truth: one definition of each measure, published variants under their own names.

Arrays and tensors in, numbers out; nothing here knows of files, frames or methods.
"""

from .fidelity import mae, most_dsa_psnr, mse, psnr
from .intervals import FEW, TOO_FEW, Outcome, bootstrap, outcome
from .overlap import dice, dice_of_labels
from .ssim import most_dsa_ssim, most_dsa_ssim_2d, ssim, ssim_map

__all__ = [
    "FEW",
    "TOO_FEW",
    "Outcome",
    "bootstrap",
    "dice",
    "dice_of_labels",
    "mae",
    "most_dsa_psnr",
    "most_dsa_ssim",
    "most_dsa_ssim_2d",
    "mse",
    "outcome",
    "psnr",
    "ssim",
    "ssim_map",
]
