"""Answers of an exported instruction, with numpy, tokenizers and onnxruntime alone: neither torch nor ofasys."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


def graph(file):
    """A function from named arrays to the named arrays that a graph gives."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return lambda given: dict(zip(names, session.run(names, given), strict=True))


class Answerer:
    """Greedy: each token is the best of those that may come there, and a label of a closed set the likeliest of all.

    about: what export.json says. graphs: name -> a function from named arrays to named arrays.
    """

    def __init__(self, about, tokenizer, graphs):
        self.about, self.tokenizer, self.graphs, self.rules = about, tokenizer, graphs, about["automaton"]
        self.closed = {one["state"]: one["tokens"] for one in self.rules["closed"]}

    @classmethod
    def of(cls, folder):
        """Of a folder that `ofasys export` wrote."""
        folder = Path(folder)
        about = json.loads((folder / "export.json").read_text(encoding="utf8"))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return cls(about, tokenizer, {name: graph(folder / f"{name}.onnx") for name in about["graphs"]})

    def ids(self, text):
        """Ids of a text."""
        found = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [one + self.about["text_offset"] for one in found]

    def text(self, ids):
        """The inverse of `ids`."""
        found = [one - self.about["text_offset"] for one in ids]
        return self.tokenizer.decode(found, skip_special_tokens=False)

    def part(self, value, options):
        """What is handed over for a value: of a text its ids, as the options of its slot say."""
        if not isinstance(value, str):
            return value
        return self.ids(value.lower() if options.get("uncased") else value)[: options.get("max_length")]

    def read(self, row):
        """What a step needs of the source. row: column -> a text, or the array of its value."""
        read, given = self.graphs.get("source"), {}
        if read is None:
            return {}
        for one in self.about["inputs"]:
            given[one["name"]] = np.asarray(self.part(row[one["name"]], one["options"]), dtype=one["dtype"])[None]
        return read(given)

    def begin(self, row):
        """What stands in the target before anything is chosen."""
        found = []
        for part in self.about["prefix"]:
            found += part["tokens"] if "tokens" in part else self.part(row[part["column"]], part["options"])
        return found

    def step(self, tokens, places, cache):
        """New tokens (B, n) and their (y, x) -> scores (B, n, V); the cache goes on."""
        given = {"tokens": np.array(tokens, dtype=np.int64), **cache}
        if self.rules["grid"]:
            given["grid"] = np.array(places, dtype=np.int64)
        step = self.graphs["step"]
        made = step(given)
        now = {name.removesuffix("_now"): made[name] for name in made if name.endswith("_now")}
        return made["scores"], {**cache, **now}

    def ways(self, state):
        """Token -> next state, of all that may come."""
        rules = self.rules
        first, last = rules["first"][state : state + 2]
        found = dict.fromkeys(range(rules["lo"][state], rules["hi"][state]), rules["next"][state])
        return found | dict(zip(rules["token"][first:last], rules["to"][first:last], strict=True))

    def place(self, state):
        """(y, x) of the token that comes in a state."""
        return self.rules["grid"][state] if self.rules["grid"] else (-1, -1)

    def best_label(self, state, feed, cache):
        """The likeliest label of a closed set, all of them at once."""
        labels = self.closed[state]
        width = len(feed) + max(map(len, labels))
        tokens, places = ([one[part] for one in feed] for part in (0, 1))
        rows = [(tokens + label + [0] * width)[:width] for label in labels]
        where = [(places + [(-1, -1)] * width)[:width]] * len(labels)
        axes = {"past": 2, "memory": 2}
        many = {name: one.repeat(len(labels), axes.get(name, 0)) for name, one in cache.items()}
        scores, _ = self.step(rows, where, many)
        found = []
        for label, row in zip(labels, scores, strict=True):
            at, total = state, 0.0
            for token, line in zip(label, row[len(feed) - 1 :], strict=False):
                ways = self.ways(at)
                total += line[token] - np.logaddexp.reduce(line[list(ways)])
                at = ways[token]
            found.append(total)
        return labels[int(np.argmax(found))]

    def tokens(self, row):
        """The answer to a row: (state, token) of each that was chosen."""
        rules = self.rules
        prefix = self.begin(row)
        most = max(1, min(self.about["max_length"], self.about["positions"] - len(prefix)))
        cache = {**self.read(row), "past": np.zeros(self.about["past"], dtype=np.float32)}
        if self.about["places"]:
            cache["places"] = np.zeros((1, 0, 3), dtype=np.int64)
        feed, made, state, run = [(one, (-1, -1)) for one in prefix], [], rules["start"], 0
        while state != rules["accept"]:
            ways = self.ways(state)
            spent = len(made) + rules["inside"][state] > most or run >= rules["limit"][state]
            if rules["stoppable"][state] and spent:
                chosen = [rules["end"]]
            elif len(ways) == 1:
                chosen = list(ways)
            elif state in self.closed:
                chosen = self.best_label(state, feed, cache)
            else:
                tokens, places = zip(*feed, strict=True)
                scores, cache = self.step([tokens], [places], cache)
                feed, may = [], list(ways)
                chosen = [may[int(np.argmax(scores[0, -1, may]))]]
            for token in chosen:
                made.append((state, token))
                feed.append((token, self.place(state)))
                after = self.ways(state)[token]
                state, run = after, run + 1 if after == state else 0
        return made

    def control(self, state, token):
        """Whether a token is of no value, but says how a sentence goes on: another round of a repetition, or none."""
        rules = self.rules
        return rules["forks"][state] or (rules["loops"][state] and token == rules["end"])

    def cut(self, slot, own):
        """(state, token) of a slot -> of each of its values: so many tokens, or those up to an end mark."""
        found = [[]]
        for state, token in own:
            if slot["count"] and len(found[-1]) == slot["count"]:
                found.append([])
            if token != self.rules["end"]:
                found[-1].append((state, token))
            elif not slot["count"]:
                found.append([])
        return found if found[-1] else found[:-1]

    def value(self, slot, own):
        """(state, token) of a value -> text or label, or of other slots the places of its tokens in their range."""
        first = min((self.rules["lo"][state] for state, _ in own), default=0)
        ids, labels = [one for _, one in own], self.rules["labels"].get(str(slot["slot"]))
        if labels and len(ids) == 1 and self.rules["hi"][own[0][0]] > first:
            return labels[ids[0] - first]
        return self.text(ids) if slot["text"] else [one - first for one in ids]

    def answer(self, row):
        """Column -> its value, a list of them in a repetition; None for what was left out."""
        found, made = {}, self.tokens(row)
        for slot in self.about["target"]:
            own = [one for one in made if self.rules["slot_of"][one[0]] == slot["slot"] and not self.control(*one)]
            values = [self.value(slot, one) for one in self.cut(slot, own)]
            found[slot["column"]] = values if slot["repeated"] else next(iter(values), None)
        return found
