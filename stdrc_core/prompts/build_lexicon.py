"""Makes lexicon.tsv, of WordNet 3.1 and LemmInflect 0.2.3.

    python -m stdrc_core.prompts.build_lexicon --wordnet DICT --inflections infl_lu.csv.gz

DICT is the folder of index.sense in WordNet's database files. infl_lu.csv.gz is in LemmInflect's
`resources`. The licences of both are in lexicon_licences.txt.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
from collections import Counter, defaultdict
from pathlib import Path

from ..text_files import read_lines
from .inflection import regular_plural, regular_verb_forms
from .lexicon import FILE, Kind

# The parts of speech in a sense's key; 5 is an adjective too.
_PARTS = {"1": "n", "2": "v", "3": "j", "4": "r", "5": "j"}
# WordNet's files of nouns whose senses can be seen in a picture, by their number.
_KINDS = {18: Kind.PERSON, 5: Kind.ANIMAL, 15: Kind.THING} | dict.fromkeys(
    (6, 8, 13, 14, 17, 19, 20, 27), Kind.THING
)
_SENSE = re.compile(r"([a-z]+(?:-[a-z]+)*|[a-z]+_[a-z]+)%(\d):(\d\d):\S* \d+ (\d+) (\d+)")
# Which nouns and verbs of two words are kept.
_PAIRS = {
    "n": re.compile(r"\w+ing \w+"),
    "v": re.compile(r"\w+ (?:up|down|off|out)|(?:put|try|pull|slip) on"),
}
# The verbs that grammar.py knows by itself.
_KNOWN = ("be",)
# A noun counts as of a kind if at least this share of its uses are.
_MIN_SHARE = {Kind.PERSON: 0.3, Kind.ANIMAL: 0.3, Kind.THING: 0.15, Kind.IDEA: 0.0}


def read_senses(folder: Path) -> tuple[dict[str, Counter[str]], dict[str, Counter[Kind]]]:
    """Returns for each word the uses by part of speech, and those of the noun by kind.

    A sense that WordNet never counted counts little, the first more than the later ones.
    """
    uses: dict[str, Counter[str]] = defaultdict(Counter)
    kinds: dict[str, Counter[Kind]] = defaultdict(Counter)
    for line in read_lines(folder / "index.sense"):
        if sense := _SENSE.match(line):
            word, part, file = sense[1].replace("_", " "), _PARTS[sense[2]], int(sense[3])
            count = 10 * int(sense[5])
            uses[word][part] += count + (1 if part in uses[word] else 2)
            if part == "n":
                weight = int(sense[5]) + 4 / int(sense[4])
                kinds[word][_KINDS.get(file, Kind.IDEA)] += weight
    return uses, kinds


def read_inflections(file: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Returns the verbs with third person, participle, past and past participle, and the plurals.

    Of several forms of one kind the first is the usual one; all are kept, with a stroke between.
    """
    verbs: dict[str, list[str]] = {}
    nouns: dict[str, str] = {}
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        for word, part, *forms in csv.reader(lines):
            if part == "verb" and len(forms) == 4:
                past, participle, ing, third = forms
                verbs[word] = [third, ing, past, participle or past]
            elif part == "noun":
                nouns[word] = forms[0]
    return verbs, nouns


def lexicon_lines(
    uses: dict[str, Counter[str]],
    kinds: dict[str, Counter[Kind]],
    verbs: dict[str, list[str]],
    plurals: dict[str, str],
) -> list[str]:
    """Returns the lines of the lexicon, sorted; lexicon.py says what stands in one.

    A verb whose forms are not told counts as regular.
    """
    lines = []
    for word in sorted({*uses, *verbs}):
        if " " in word:
            lines += [f"{word}\t{part}" for part in _PAIRS if _is_pair(word, part, uses[word])]
            continue
        if not re.fullmatch(r"[a-z]{2,}(?:-[a-z]+)*", word):
            continue
        fields = []
        if word in verbs or ("v" in uses[word] and word not in _KNOWN):
            regular = regular_verb_forms(word)
            forms = verbs.get(word, [*regular])
            given = "" if tuple(forms) == regular else f":{','.join(forms)}"
            fields.append(f"v{uses[word]['v'] if word in uses else 1}{given}")
        if "n" in uses[word]:
            total = sum(kinds[word].values())
            kind = next(each for each in Kind if kinds[word][each] >= _MIN_SHARE[each] * total)
            plural = plurals.get(word, "")
            given = f":{plural}" if plural and plural != regular_plural(word) else ""
            fields.append(f"n{uses[word]['n']}{kind}{given}")
        fields += [f"{part}{uses[word][part]}" for part in "jr" if part in uses[word]]
        if fields and not _as_unknown(word, fields):
            lines.append("\t".join((word, *fields)))
    return lines


def _is_pair(words: str, part: str, uses: Counter[str]) -> bool:
    """Returns whether two words are kept as one noun ("running shoe") or verb ("pick up")."""
    return part in uses and _PAIRS[part].fullmatch(words) is not None


def _as_unknown(word: str, fields: list[str]) -> bool:
    """Returns whether a word that the lexicon has not is read just so (grammar.py)."""
    only = fields[0] if len(fields) == 1 else ""
    return (
        (only.startswith("n") and only.endswith(Kind.IDEA) and len(only) < 4)
        or (only.startswith("r") and word.endswith("ly"))
        or (only.startswith("j") and not word.endswith("ly"))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes lexicon.tsv.")
    parser.add_argument("--wordnet", type=Path, required=True, help="the folder of index.sense")
    parser.add_argument("--inflections", type=Path, required=True, help="infl_lu.csv.gz")
    args = parser.parse_args()
    lines = lexicon_lines(*read_senses(args.wordnet), *read_inflections(args.inflections))
    FILE.write_bytes(("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
