"""The built-in tasks as lines, with the metric each is judged by first: what `ofasys tasks` lists, without their
data.
"""

from __future__ import annotations

from ofasys.gallery.demo import INSTRUCTIONS, METRICS

_GRID = "columns=4,preprocess=grid,rows=4,values=5"

OF_PAGES: dict[str, tuple[str, str, str]] = {  # task -> (page of the demo, instruction, metric)
    "g2p": ("g2p", "[TEXT:word] -> [PHONE:phones]", "per"),
    "hear": (
        "speech",
        "[AUDIO:wav,criterion=ctc,ctc_target=said,mels=40,rate=8000,weight=0.5] what is said? -> "
        "[TEXT:name,closed_set]",
        "accuracy",
    ),
    "say": ("speech", "say [TEXT:name] -> [AUDIO:wav,max_length=24,mels=40,rate=8000,reduction=4]", "mcd"),
    "video": ("video", "[VIDEO:clip,frames=4,patch=16,size=32] what happens? -> [TEXT:cap]", "exact_match"),
    "sudoku": ("sudoku", f"[STRUCT:puzzle,{_GRID}] -> [STRUCT:solution,{_GRID}]", "grid_exact"),
    "table_question": ("table", "[STRUCT:table] [TEXT:q] -> [TEXT:a]", "exact_match"),
    "sql": ("table", "[STRUCT:db,preprocess=database,samples=0] [TEXT:q] -> [TEXT:sql]", "execution_accuracy"),
    "draw": ("draw", "[TEXT:name] -> [IMAGE:img]", "psnr"),
    "make_motion": ("motion", "a body is to [TEXT:what] -> [MOTION:m,frames=40,steps=25,stride=2]", "mpjpe"),
    "name_motion": (
        "motion",
        "what does the body do? [MOTION:m,frames=40,stride=2] -> [TEXT:what,closed_set]",
        "accuracy",
    ),
}


def lines() -> dict[str, tuple[str | None, str, str]]:
    """Task -> (its page of the demo, None of the main one; instruction; metric)."""
    main: dict[str, tuple[str | None, str, str]] = {
        name: (None, text, METRICS[name]) for name, text in INSTRUCTIONS.items()
    }
    return {**main, **OF_PAGES}
