#!/usr/bin/env python3
"""Makes the files that `fathom eval` reads from the tasks' published ones (docs/evaluation.md says which).

    scripts/make-eval-data.py TASK FILE... [--split SPLIT] [--out eval-data]

    scripts/make-eval-data.py arc_easy ARC-Easy-Test.jsonl
    scripts/make-eval-data.py arc_easy ARC-Easy-Train.jsonl --split train     # for --num-fewshot
    scripts/make-eval-data.py piqa valid.jsonl valid-labels.lst
    scripts/make-eval-data.py mmlu test/*.csv

FILE holds rows as Hugging Face's datasets have them or as the authors published them: JSON lines, a JSON array, the
answer of the datasets server ({"rows": [{"row": ...}]}), each plain or as .gz; .csv of mmlu; a list of labels (.lst) of
piqa; .parquet where pyarrow is installed. Several files are one split, in their order. Nothing is downloaded, and nothing but
Python is needed.
"""

import argparse
import csv
import gzip
import io
import json
import re
import sys
from collections import Counter
from pathlib import Path


class BadRow(Exception):
    pass


# ---- rows of a file --------------------------------------------------------------------------------------------------

def read_text(path):
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")


def rows_of_json(text):
    if text.lstrip().startswith("["):
        return json.loads(text)
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        # Not by splitlines(): a text may hold U+2028.
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    rows = whole.get("rows")
    return [row.get("row", row) for row in rows] if isinstance(rows, list) else [whole]


def rows_of_csv(text, path):
    """mmlu's own files: <subject>_<split>.csv, lines question,A,B,C,D,answer without a head."""
    subject = re.sub(r"_(test|dev|val)$", "", path.stem)
    return [{"subject": subject, "question": row[0], "choices": row[1:-1], "answer": row[-1]}
            for row in csv.reader(io.StringIO(text, newline=""))]


def rows_of_parquet(path):
    try:
        from pyarrow import parquet
    except ImportError:
        sys.exit(f"{path}: needs pyarrow, which is not installed; the same rows as JSON need nothing")
    return parquet.read_table(path).to_pylist()


def read_rows(paths):
    rows, labels = [], []
    for path in paths:
        kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
        try:
            if kind == ".parquet":
                rows += rows_of_parquet(path)
            elif kind == ".lst":
                labels += read_text(path).split()
            elif kind == ".csv":
                rows += rows_of_csv(read_text(path), path)
            else:
                rows += rows_of_json(read_text(path))
        except (OSError, ValueError) as error:
            sys.exit(f"{path}: {error}")
    if labels:
        if len(labels) != len(rows):
            sys.exit(f"{len(labels)} labels for {len(rows)} rows")
        rows = [dict(row, label=label) for row, label in zip(rows, labels)]
    return rows


# ---- a row of each task ----------------------------------------------------------------------------------------------

def index_of(value, count, first=0):
    """A label as a number, "2", or -1 and "" where the answers of a split are kept back."""
    if value in (None, "", -1, "-1"):
        raise BadRow("has no answer: those of this split are not published; take the validation split")
    number = int(value) - first
    if not 0 <= number < count:
        raise BadRow(f"has the answer {value!r} of {count} choices")
    return number


def labelled(row):
    """Questions whose choices have labels: ARC, OpenBookQA, CommonsenseQA."""
    question = row.get("question", row.get("question_stem"))
    choices = row.get("choices")
    if isinstance(question, dict):  # as the authors published it
        choices, question = question["choices"], question["stem"]
    if isinstance(choices, dict):
        texts, labels = list(choices["text"]), list(choices["label"])
    else:
        texts, labels = [c["text"] for c in choices], [c["label"] for c in choices]
    if not row.get("answerKey"):
        return {"query": question, "choices": texts, "gold": index_of("", len(texts))}
    if row["answerKey"] not in labels:
        raise BadRow(f"has the answer {row['answerKey']!r}, and choices {labels}")
    return {"query": question, "choices": texts, "gold": labels.index(row["answerKey"])}


def openbookqa(row):
    return labelled(dict(row, question=row["question_stem"]) if "question_stem" in row else row)


def piqa(row):
    return {"query": row["goal"], "choices": [row["sol1"], row["sol2"]], "gold": index_of(row.get("label"), 2)}


def hellaswag(row):
    """Fathom tidies the texts as lm-evaluation-harness does; here they stay as they are."""
    query = row["activity_label"] + ": " + row["ctx_a"] + " " + row["ctx_b"].capitalize()
    endings = list(row["endings"])
    return {"query": query, "choices": endings, "gold": index_of(row.get("label"), len(endings))}


def passage(text, question):
    """The question is the last line of the query."""
    question = " ".join(question.split("\n"))
    return text + "\n" + question if text.strip() else question


def boolq(row):
    answer = row["answer"] if "answer" in row else row.get("label")
    return {"query": passage(row["passage"], row["question"] + "?"), "choices": ["no", "yes"],
            "gold": index_of(int(answer) if isinstance(answer, bool) else answer, 2)}


def winogrande(row):
    before, blank, after = row["sentence"].partition("_")
    if not blank:
        raise BadRow("has no blank in its sentence")
    options = [row["option1"], row["option2"]]
    return {"query": before.rstrip(), "choices": [option + after for option in options],
            "gold": index_of(row.get("answer"), 2, first=1), "contexts": [before + option for option in options],
            "continuation": " " + after.strip()}


def sciq(row):
    choices = [row["distractor1"], row["distractor2"], row["distractor3"], row["correct_answer"]]
    return {"query": passage(row["support"], row["question"]), "choices": choices, "gold": 3}


class Mmlu:
    """Counts the rows of each subject, which the id names."""

    def __init__(self):
        self.counts = Counter()

    def __call__(self, row):
        choices, answer, subject = list(row["choices"]), row["answer"], row["subject"]
        gold = "ABCD".index(answer) if isinstance(answer, str) and answer in tuple("ABCD") else answer
        item = {"id": f"{subject}/{self.counts[subject]}", "query": row["question"], "choices": choices,
                "gold": index_of(gold, len(choices))}
        self.counts[subject] += 1
        return item


TASKS = {  # and the split that is scored
    "arc_easy": (labelled, "test"),
    "arc_challenge": (labelled, "test"),
    "piqa": (piqa, "validation"),
    "hellaswag": (hellaswag, "validation"),
    "boolq": (boolq, "validation"),
    "winogrande": (winogrande, "validation"),
    "openbookqa": (openbookqa, "test"),
    "mmlu": (Mmlu(), "test"),
    "sciq": (sciq, "validation"),
    "commonsenseqa": (labelled, "validation"),
}
IDS = ("id", "qID")


def items_of(task, rows):
    convert = TASKS[task][0]
    for number, row in enumerate(rows, 1):
        try:
            item = convert(row)
        except BadRow as error:
            sys.exit(f"row {number} {error}")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            sys.exit(f"row {number} is none of {task}: {type(error).__name__} {error}")
        name = next((str(row[key]) for key in IDS if row.get(key) is not None), None)
        yield item if name is None or "id" in item else {"id": name, **item}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--split", help="what the rows are (default: the split that the task is scored on)")
    parser.add_argument("--out", type=Path, default=Path("eval-data"), help="folder of the result (default: eval-data)")
    arguments = parser.parse_args()
    path = arguments.out / f"{arguments.task}.{arguments.split or TASKS[arguments.task][1]}.jsonl"
    if path.exists():
        sys.exit(f"{path}: exists already; remove it first, or name another --out")
    lines = [json.dumps(item, ensure_ascii=False) for item in items_of(arguments.task, read_rows(arguments.files))]
    if not lines:
        sys.exit("the files hold no row")
    arguments.out.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {len(lines)} items")


if __name__ == "__main__":
    main()
