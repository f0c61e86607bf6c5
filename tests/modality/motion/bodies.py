"""Made-up skeletons and motions, and BVH texts as others write them. `from tests.modality.motion import bodies`."""

import itertools

import numpy as np

from ofasys.modality.motion.motion import Motion
from ofasys.modality.motion.skeleton import POSITIONS, ROTATIONS, Skeleton

ORDERS = [tuple(f"{axis}rotation" for axis in order) for order in itertools.permutations("XYZ")]
LIMBS = (5, 5, 6, 7, 7)  # joints of each limb of a body of 31


def body(seed=0, limbs=LIMBS, six=(), mixed=True):
    """A skeleton of 1 + sum(limbs) joints with an End Site on each limb; joints in `six` have six channels."""
    random = np.random.default_rng(seed)
    names, parents, ends = ["Hips"], [-1], []
    for limb, length in enumerate(limbs):
        parent = 0
        for i in range(length):
            names.append(f"limb{limb}_{i}")
            parents.append(parent)
            parent = len(names) - 1
        ends.append((parent, tuple(random.normal(size=3).round(5).tolist())))
    offsets = [tuple((5 * random.normal(size=3)).round(5).tolist()) for _ in names]
    channels = [ORDERS[(j if mixed else 0) % 6] for j in range(len(names))]
    channels = [(POSITIONS if j == 0 or j in six else ()) + turns for j, turns in enumerate(channels)]
    return Skeleton(tuple(names), tuple(parents), ((0.0, 0.0, 0.0), *offsets[1:]), tuple(channels), tuple(ends))


def moving(skeleton, frames=40, seed=0, fps=20.0, phase=None):
    """Smooth channels: a wave each, angles within 60 degrees."""
    random = np.random.default_rng(seed)
    rate, shift = random.uniform(0.2, 1.0, skeleton.width), random.uniform(0, 6.28, skeleton.width)
    time = np.arange(frames)[:, None] / fps
    waves = np.sin(6.28 * rate * time + (shift if phase is None else phase))
    scale = [60.0 if name in ROTATIONS else 10.0 for names in skeleton.channels for name in names]
    return Motion(skeleton, waves * scale, 1 / fps)


def text(motion, indent="    ", brace="\n", end="\n", blank=""):
    """BVH text in another hand: blanks, braces and digits unlike ours."""
    skeleton = motion.skeleton

    def joint(j, depth):
        pad = indent * depth
        head = "JOINT" if j else "ROOT"
        lines = [f"{pad}{head} {skeleton.names[j]}" + (" {" if brace == " " else f"\n{pad}{{")]
        lines.append(f"{pad}{indent}OFFSET {' '.join(f'{o:.6f}' for o in skeleton.offsets[j])}")
        names = skeleton.channels[j]
        lines.append(f"{pad}{indent}CHANNELS {len(names)} {' '.join(names)} ")
        for child in (c for c, parent in enumerate(skeleton.parents) if parent == j):
            lines += joint(child, depth + 1)
        for _, offset in (e for e in skeleton.ends if e[0] == j):
            inner = pad + indent
            lines += [
                f"{inner}End Site",
                f"{inner}{{",
                f"{inner}{indent}OFFSET {' '.join(map(str, offset))}",
                f"{inner}}}",
            ]
        return [*lines, f"{pad}}}"]

    lines = [
        "HIERARCHY",
        *joint(0, 0),
        "MOTION",
        f"Frames:    {len(motion)}",
        f"Frame Time:    {motion.frame_time:.7f}",
    ]
    lines += ["    ".join(f"{v:.6f}" for v in row) + "    " for row in motion.values]
    return (end + blank).join("\n".join(lines).split("\n")) + end


def walker(kind, shift=0.0, frames=16, fps=20.0):
    """A body of five joints that waves (0), nods (1) or strides (2); `shift` is where in the cycle it begins."""
    skeleton = Skeleton(
        ("Hips", "Spine", "LeftArm", "RightArm", "Head"),
        (-1, 0, 1, 1, 1),
        ((0.0, 0.0, 0.0), (0.0, 5.0, 0.0), (2.0, 3.0, 0.0), (-2.0, 3.0, 0.0), (0.0, 4.0, 0.0)),
        ((*POSITIONS, "Zrotation", "Yrotation", "Xrotation"), *[("Zrotation", "Yrotation", "Xrotation")] * 4),
        ((2, (4.0, 0.0, 0.0)), (3, (-4.0, 0.0, 0.0)), (4, (0.0, 2.0, 0.0))),
    )
    values = np.zeros((frames, skeleton.width))
    wave = np.sin(2 * np.pi * np.arange(frames) / frames + shift)
    values[:, 1] = 10.0
    if kind == 0:
        values[:, 9], values[:, 12] = 60 * wave, -60 * wave
    elif kind == 1:
        values[:, 8], values[:, 17] = 40 * wave, 50 * wave
    else:
        values[:, 2], values[:, 4] = np.arange(frames) * 0.8, 45 * wave
    return Motion(skeleton, values, 1 / fps)
