"""Layered synthetic scenes, whose flow and masks the motion prior learns from.

textures.py     grey textures, from noise and simple figures
shapes.py       outlines: blobs, limbs, poles, the edge of the ground
motion.py       where a layer is in the frames before and after
layers.py       a layer: an outline, a texture and a motion
world.py        what stands still: backgrounds, ground, things at other depths, water
movers.py       what moves by itself, with its limbs, shadow, reflection and spray; crowds
scene.py        a scene: a camera, a world, objects
rendering.py    the frames of a scene, its mask and the flow of its layers
samples.py      flow and mask of a scene, as the network's training takes them
shards.py       many samples on disk
"""
