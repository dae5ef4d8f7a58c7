"""What is not the paper's. All of it can be turned off; docs/extensions.md has what each gains.

- `augmentation`: frames are mirrored, and their colours change, at random;
- `confidence_weights`: a pixel counts as much in the losses as its soft mask is sure;
- `cosine_decay`: the learning rate falls to 0;
- `frame_agreement`: frames whose pseudo-labels the network contradicts are left out;
- `half_size`: most passes over the video are at half its size;
- `prior_bias`: what has no features yet is background;
- `short_videos`: of a short video an epoch has several passes.

Masks that follow the edges of the frames are in `ike_data.guided_filter`.
"""
