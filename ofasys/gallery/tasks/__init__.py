"""Tasks on real data, a file each: `ofasys train gallery:NAME`."""

from __future__ import annotations

from ofasys.gallery.tasks.arc import TASK as ARC
from ofasys.gallery.tasks.captions import TASK as CAPTIONS
from ofasys.gallery.tasks.clip_captions import TASK as CLIP_CAPTIONS
from ofasys.gallery.tasks.clip_events import TASK as CLIP_EVENTS
from ofasys.gallery.tasks.clip_making import TASK as CLIP_MAKING
from ofasys.gallery.tasks.clip_questions import TASK as CLIP_QUESTIONS
from ofasys.gallery.tasks.dictation import TASK as DICTATION
from ofasys.gallery.tasks.emoji_drawing import TASK as EMOJI_DRAWING
from ofasys.gallery.tasks.emoji_names import TASK as EMOJI_NAMES
from ofasys.gallery.tasks.emoji_search import TASK as EMOJI_SEARCH
from ofasys.gallery.tasks.entailment import TASK as ENTAILMENT
from ofasys.gallery.tasks.exercises import TASK as EXERCISES
from ofasys.gallery.tasks.fashion import TASK as FASHION
from ofasys.gallery.tasks.fashion_halves import TASK as FASHION_HALVES
from ofasys.gallery.tasks.infilling import TASK as INFILLING
from ofasys.gallery.tasks.instructions import TASK as INSTRUCTIONS
from ofasys.gallery.tasks.map_names import TASK as MAP_NAMES
from ofasys.gallery.tasks.map_regions import TASK as MAP_REGIONS
from ofasys.gallery.tasks.moves import TASK as MOVES
from ofasys.gallery.tasks.next_word import TASK as NEXT_WORD
from ofasys.gallery.tasks.phones import TASK as PHONES
from ofasys.gallery.tasks.pronunciation import TASK as PRONUNCIATION
from ofasys.gallery.tasks.record_text import TASK as RECORD_TEXT
from ofasys.gallery.tasks.samples import TASK as SAMPLES
from ofasys.gallery.tasks.saying import TASK as SAYING
from ofasys.gallery.tasks.scene_entailment import TASK as SCENE_ENTAILMENT
from ofasys.gallery.tasks.scene_objects import TASK as SCENE_OBJECTS
from ofasys.gallery.tasks.scene_questions import TASK as SCENE_QUESTIONS
from ofasys.gallery.tasks.sentiment import TASK as SENTIMENT
from ofasys.gallery.tasks.spelling import TASK as SPELLING
from ofasys.gallery.tasks.sudoku import TASK as SUDOKU
from ofasys.gallery.tasks.summary import TASK as SUMMARY
from ofasys.gallery.tasks.supersense import TASK as SUPERSENSE
from ofasys.gallery.tasks.syllables import TASK as SYLLABLES
from ofasys.gallery.tasks.table_qa import TASK as TABLE_QA
from ofasys.gallery.tasks.tagging import TASK as TAGGING
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask
from ofasys.gallery.tasks.text_to_sql import TASK as TEXT_TO_SQL
from ofasys.gallery.tasks.tones import TASK as TONES
from ofasys.gallery.tasks.topic import TASK as TOPIC
from ofasys.gallery.tasks.translation import TASK as TRANSLATION

TASKS: tuple[GalleryTask, ...] = (
    *(SENTIMENT, TOPIC, SUPERSENSE, TAGGING, SUMMARY, TRANSLATION),
    *(FASHION, CAPTIONS, SYLLABLES, PRONUNCIATION, TEXT_TO_SQL, RECORD_TEXT),
    *(ENTAILMENT, INFILLING, NEXT_WORD, EMOJI_NAMES, SPELLING, INSTRUCTIONS, TABLE_QA, SUDOKU, ARC),
    *(DICTATION, PHONES, TONES, SAYING, SAMPLES, EXERCISES, MOVES),
    *(SCENE_QUESTIONS, SCENE_ENTAILMENT, SCENE_OBJECTS, EMOJI_SEARCH, EMOJI_DRAWING, FASHION_HALVES),
    *(MAP_REGIONS, MAP_NAMES),
    *(CLIP_EVENTS, CLIP_CAPTIONS, CLIP_QUESTIONS, CLIP_MAKING),
)

__all__ = ["TASKS", "Data", "Figure", "GalleryTask"]
