"""A run file over made-up rows of many kinds, in a folder: pictures, sounds, clips, motions, tables, numbers."""

import json
import math
import wave
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (220, 50, 40), "green": (40, 160, 70), "blue": (40, 90, 210), "yellow": (240, 190, 40)}
SHAPES = ("circle", "square")
RATE = 8000
WORDS = {"low": 220, "high": 880}
LINES = {
    "caption": "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
    "detect": "[IMAGE:img] detect the objects -> ([BOX:box] [TEXT:label])*",
    "region": "[IMAGE:img] what lies in [BOX:box]? -> [TEXT:what]",
    "ground": "[IMAGE:img] where is the [TEXT:phrase]? -> [BOX:box]",
    "colour": "[IMAGE:img] which colour? -> [CATEGORY:colour]",
    "hear": "[AUDIO:sound] what is heard? -> [TEXT:heard]",
    "say": "say [TEXT:word] -> [AUDIO:sound]",
    "query": "[STRUCT:table] [TEXT:question] write SQL -> [TEXT:sql]",
    "move": "[TEXT:name] move -> [MOTION:motion]",
    "watch": "[VIDEO:clip] where does it go? -> [TEXT:way]",
    "price": "[NUMBER:metres] how much? -> [NUMBER:price]",
}
SETTINGS = {
    "caption": {"IMAGE.size": 32},
    "detect": {"IMAGE.size": 32},
    "region": {"IMAGE.size": 32},
    "ground": {"IMAGE.size": 32},
    "colour": {"IMAGE.size": 32},
    "hear": {"AUDIO.rate": RATE, "AUDIO.mels": 20, "AUDIO.seconds": 2},
    "say": {"AUDIO.rate": RATE, "AUDIO.mels": 20, "AUDIO.seconds": 2},
    "watch": {"VIDEO.size": 32, "VIDEO.frames": 4},
}
SEARCH = {
    "caption": {"max_length": 8},
    "hear": {"max_length": 4},
    "watch": {"max_length": 4},
    "query": {"max_length": 40},
}
METRICS = {"caption": "exact_match", "query": "exact_match", "colour": "accuracy"}


def picture(path, seed):
    """One or two shapes on light grey -> [(colour, shape, box)]."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (96, 72), (236, 238, 240))
    draw, found = ImageDraw.Draw(image), []
    for side in range(1 + seed % 2):
        colour, shape = list(COLOURS)[random.integers(len(COLOURS))], SHAPES[random.integers(2)]
        size = int(random.integers(18, 34))
        x, y = int(48 * side + random.integers(2, 46 - size)), int(random.integers(2, 70 - size))
        box = [x, y, x + size, y + size]
        (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=COLOURS[colour])
        found.append((colour, shape, box))
    image.save(path)
    return found


def sound(path, word, seconds=0.4):
    """A beep with soft ends."""
    time = np.arange(int(RATE * seconds)) / RATE
    samples = 0.5 * np.sin(2 * math.pi * WORDS[word] * time) * np.minimum(1, 12 * np.minimum(time, seconds - time))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((32767 * samples).astype("<i2").tobytes())


def body(kind, shift, frames=16):
    """BVH text of a figure that waves an arm or nods."""
    joints = {
        "Hips": (None, (0, 0, 0)),
        "Chest": ("Hips", (0, 5, 0)),
        "Head": ("Chest", (0, 3, 0)),
        "Arm": ("Chest", (2, 2, 0)),
        "Hand": ("Arm", (3, 0, 0)),
        "LeftArm": ("Chest", (-2, 2, 0)),
        "LeftHand": ("LeftArm", (-3, 0, 0)),
        "Leg": ("Hips", (1.2, 0, 0)),
        "Foot": ("Leg", (0, -7, 0)),
        "LeftLeg": ("Hips", (-1.2, 0, 0)),
        "LeftFoot": ("LeftLeg", (0, -7, 0)),
    }
    lines, order = ["HIERARCHY"], []

    def write(name, depth):
        pad = "  " * depth
        offset = " ".join(str(number) for number in joints[name][1])
        position = "Xposition Yposition Zposition " if not depth else ""
        order.append(name)
        lines.append(f"{pad}{'ROOT' if not depth else 'JOINT'} {name}")
        lines.append(f"{pad}{{\n{pad}  OFFSET {offset}")
        lines.append(f"{pad}  CHANNELS {6 if not depth else 3} {position}Zrotation Yrotation Xrotation")
        inside = [other for other, (parent, _) in joints.items() if parent == name]
        for other in inside:
            write(other, depth + 1)
        if not inside:
            lines.append(f"{pad}  End Site\n{pad}  {{\n{pad}    OFFSET 0 {1.5 if name == 'Head' else -1} 0\n{pad}  }}")
        lines.append(f"{pad}}}")

    write("Hips", 0)
    lines += ["MOTION", f"Frames: {frames}", "Frame Time: 0.05"]
    for frame in range(frames):
        angle = 60 * math.sin(2 * math.pi * frame / frames + shift)
        turns = {"Arm": f"{angle:.2f} 0 0"} if kind == "wave" else {"Chest": f"0 0 {angle / 3:.2f}"}
        lines.append(" ".join(["0 10 0", *(turns.get(name, "0 0 0") for name in order)]))
    return "\n".join(lines) + "\n"


def clip(path, way):
    """A square that goes left or right."""
    frames = []
    for step in range(8):
        frame = Image.new("RGB", (48, 36), "white")
        x = 4 * step if way == "right" else 28 - 4 * step
        ImageDraw.Draw(frame).rectangle([x + 2, 12, x + 14, 24], fill=(30, 60, 200))
        frames.append(frame)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0)


def write_rows(data, count):
    """Task -> its rows; their files lie in `data`."""
    found = {name: [] for name in LINES}
    for i in range(count):
        name = f"picture-{i}.png"
        shapes = picture(data / name, i)
        words = [f"{colour} {shape}" for colour, shape, _ in shapes]
        found["caption"].append({"img": name, "cap": " and ".join(f"a {word}" for word in words)})
        found["detect"].append({"img": name, "box": [box for *_, box in shapes], "label": words})
        found["region"].append({"img": name, "box": shapes[-1][2], "what": f"a {words[-1]}"})
        if len(shapes) == 1:
            found["ground"].append({"img": name, "phrase": words[0], "box": shapes[0][2]})
            found["colour"].append({"img": name, "colour": shapes[0][0]})
    for word in WORDS:
        sound(data / f"{word}.wav", word)
        found["hear"].append({"sound": f"{word}.wav", "heard": f"a {word} beep"})
        found["say"].append({"word": f"a {word} beep", "sound": f"{word}.wav"})
    for kind in ("wave", "nod"):
        for shift in range(3):
            (data / f"{kind}-{shift}.bvh").write_text(body(kind, shift / 2))
            found["move"].append({"name": kind, "motion": f"{kind}-{shift}.bvh"})
    for way in ("left", "right"):
        clip(data / f"{way}.gif", way)
        found["watch"].append({"clip": f"{way}.gif", "way": way})
    for column in ("city", "country", "people"):
        table = [["city", "country", "people"], ["Oslo", "Norway", 709000], ["Kyoto", "Japan", 1460000]]
        found["query"].append({"table": table, "question": f"all {column}", "sql": f"SELECT {column} FROM t"})
        found["query"].append(
            {"table": table, "question": f"the {column} of Oslo", "sql": f"SELECT {column} FROM t WHERE city = 'Oslo'"}
        )
    found["price"] = [{"metres": 10.0 * i, "price": 40.0 * i + 3} for i in range(1, 9)]
    return found


def write_run_file(folder, steps, count=24, only=tuple(LINES), **config):
    """run.yaml and its data -> its path. count: pictures. config: of the model."""
    data = Path(folder, "data")
    data.mkdir(parents=True)
    rows = write_rows(data, count)
    tasks = {}
    for name in only:
        (data / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[name]))
        tasks[name] = {
            "instruction": LINES[name],
            "train": f"data/{name}.jsonl",
            "micro_batch_size": min(8, len(rows[name])),
            **({"settings": SETTINGS[name]} if name in SETTINGS else {}),
            **({"generate": SEARCH[name]} if name in SEARCH else {}),
            **({"metrics": METRICS[name]} if name in METRICS else {}),
            **({"closed_set": list(COLOURS)} if name == "colour" else {}),
        }
    shape = {
        "width": 32,
        "heads": 2,
        "ffn": 64,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "max_positions": 256,
        "max_grid": 16,
    }
    about = {
        "tasks": tasks,
        "model": {"text_pieces": 400, "config": {**shape, **config}},
        "trainer": {"max_steps": steps, "warmup": min(50, steps // 2 + 1), "lr": 2e-3, "out": "run", "live": False},
    }
    path = Path(folder, "run.yaml")
    path.write_text(json.dumps(about))  # JSON is YAML
    return path


def train_run(path):
    """Train what a run file says, in this process -> the folder of the run."""
    from ofasys.cli.train import train

    train(path, [])
    return path.with_name("run")
