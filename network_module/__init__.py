"""The network module: a U-Net learns one video from soft masks, and gives better ones.

The paper's method is in `unet`, `losses` and `training`; what is not the paper's in `extensions`.

    import torch
    from network_module import Settings, learn, predict

    video = torch.randint(0, 256, (4, 3, 64, 96), dtype=torch.uint8)  # RGB [n, 3, H, W]
    masks = torch.zeros(4, 64, 96)  # soft masks [n, H, W]; the object is the left half
    masks[..., :48] = 1
    network = learn(video, masks, Settings(n_epochs=1, base_channels=4))
    better_masks = predict(network, video)  # [n, H, W]

``Settings()`` has config.ini's values, ``Settings.paper()`` the paper's.
"""

from network_module.learning import learn
from network_module.prediction import predict
from network_module.settings import Settings

__all__ = ["Settings", "learn", "predict"]
