#!/usr/bin/env python3
"""scripts/make-eval-data.py makes of a published row of each task the line that docs/evaluation.md states.

    check_eval_data.py [--fathom BIN]     BIN scores them too

The rows are made up; their forms are the published ones. Exit code 0 if all is as it should be, 1 if not.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "scripts/make-eval-data.py"
MODEL = REPOSITORY / "tests/eval/data/bpe-lns"

# task, file name, what it holds, the line that is made of it
CASES = [
    ("arc_easy", "hf.jsonl",
     {"id": "M_1", "question": "What floats?", "choices": {"text": ["iron", "cork"], "label": ["1", "2"]},
      "answerKey": "2"},
     {"id": "M_1", "query": "What floats?", "choices": ["iron", "cork"], "gold": 1}),
    ("arc_challenge", "own.jsonl",
     {"id": "M_2", "answerKey": "A",
      "question": {"stem": "What sinks?",
                   "choices": [{"text": "iron", "label": "A"}, {"text": "cork", "label": "B"}]}},
     {"id": "M_2", "query": "What sinks?", "choices": ["iron", "cork"], "gold": 0}),
    ("piqa", "hf.jsonl", {"goal": "dry a sail", "sol1": "in the wind", "sol2": "in the sea", "label": 0},
     {"query": "dry a sail", "choices": ["in the wind", "in the sea"], "gold": 0}),
    ("hellaswag", "hf.jsonl",
     {"ind": 24, "activity_label": "Sailing", "ctx_a": "A man stands. [title] He waits.", "ctx_b": "the Wind",
      "ctx": "", "endings": ["blows.", "[step] sleeps.", "sings.", "eats."], "source_id": "x", "label": "3"},
     {"query": "Sailing: A man stands. [title] He waits. The wind",
      "choices": ["blows.", "[step] sleeps.", "sings.", "eats."], "gold": 3}),
    ("boolq", "own.jsonl.gz",
     {"question": "is it deep", "title": "Sea", "answer": True, "passage": "The sea.\nIt is deep."},
     {"query": "The sea.\nIt is deep.\nis it deep?", "choices": ["no", "yes"], "gold": 1}),
    ("winogrande", "hf.jsonl",
     {"sentence": "The rope held the boat until the _ broke.", "option1": "rope", "option2": "boat", "answer": "2"},
     {"query": "The rope held the boat until the", "choices": ["rope broke.", "boat broke."], "gold": 1,
      "contexts": ["The rope held the boat until the rope", "The rope held the boat until the boat"],
      "continuation": " broke."}),
    ("openbookqa", "hf.json",
     [{"id": "7-1", "question_stem": "Deep water is", "choices": {"text": ["dark", "dry"], "label": ["A", "B"]},
       "answerKey": "A", "fact1": "no light"}],
     {"id": "7-1", "query": "Deep water is", "choices": ["dark", "dry"], "gold": 0}),
    ("mmlu", "server.json",
     {"rows": [{"row_idx": 0, "row": {"question": "Salt water?", "subject": "marine_science",
                                      "choices": ["a", "b", "c", "d"], "answer": 2}}]},
     {"id": "marine_science/0", "query": "Salt water?", "choices": ["a", "b", "c", "d"], "gold": 2}),
    ("sciq", "hf.jsonl",
     {"question": "What sinks?", "distractor3": "air", "distractor1": "cork", "distractor2": "smoke",
      "correct_answer": "cold water", "support": " Cold water sinks.\u2028Or not."},
     {"query": " Cold water sinks.\u2028Or not.\nWhat sinks?", "choices": ["cork", "smoke", "air", "cold water"],
      "gold": 3}),
    ("commonsenseqa", "hf.jsonl",
     {"id": "c1", "question": "Where does a ship rest?", "question_concept": "ship",
      "choices": {"label": ["A", "B", "C"], "text": ["tree", "harbour", "cloud"]}, "answerKey": "B"},
     {"id": "c1", "query": "Where does a ship rest?", "choices": ["tree", "harbour", "cloud"], "gold": 1}),
]
SPLITS = {"arc_easy": "test", "arc_challenge": "test", "openbookqa": "test", "mmlu": "test"}


def convert(task, out, *files):
    return subprocess.run([sys.executable, str(SCRIPT), task, *map(str, files), "--out", str(out)], capture_output=True,
                          text=True)


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def expect(condition, what):
    if not condition:
        sys.exit(f"WRONG: {what}")


def check_cases(folder, out):
    for task, name, rows, line in CASES:
        source = folder / f"{task}-{name}"
        text = (json.dumps(rows, ensure_ascii=False) + "\n").encode()
        source.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        done = convert(task, out, source)
        expect(done.returncode == 0, f"{task}: {done.stderr}")
        made = lines_of(out / f"{task}.{SPLITS.get(task, 'validation')}.jsonl")
        expect(made == [line], f"{task}: {made} is not {line}")
    again = convert("piqa", out, folder / "piqa-hf.jsonl")
    expect(again.returncode == 1 and "exists already" in again.stderr, again.stderr)


def check_other_forms(folder):
    """Labels in a file of their own, mmlu's tables, answers that are kept back, rows of another task."""
    rows = [{"goal": "g", "sol1": "a", "sol2": "b"}, {"goal": "h", "sol1": "c", "sol2": "d"}]
    (folder / "valid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "valid.lst").write_text("1\n0\n")
    done = convert("piqa", folder / "lst", folder / "valid.jsonl", folder / "valid.lst")
    expect(done.returncode == 0, done.stderr)
    expect([item["gold"] for item in lines_of(folder / "lst/piqa.validation.jsonl")] == [1, 0], "labels of a list")
    (folder / "world_history_test.csv").write_text('"Who, when?\nWhere?",a,b,c,d,D\nWhy?,a,b,c,d,A\n')
    done = convert("mmlu", folder / "csv", folder / "world_history_test.csv")
    expect(done.returncode == 0, done.stderr)
    expect([(i["id"], i["query"], i["gold"]) for i in lines_of(folder / "csv/mmlu.test.jsonl")]
           == [("world_history/0", "Who, when?\nWhere?", 3), ("world_history/1", "Why?", 0)], "a table of mmlu's")
    for task, row, said in (("hellaswag", dict(CASES[3][2], label=""), "not published"),
                            ("piqa", {"goal": "g", "sol1": "a", "sol2": "b", "label": -1}, "not published"),
                            ("arc_easy", dict(CASES[0][2], answerKey="Z"), "'Z'"),
                            ("sciq", CASES[0][2], "none of sciq")):
        (folder / "bad.jsonl").write_text(json.dumps(row) + "\n")
        done = convert(task, folder / "bad", folder / "bad.jsonl")
        expect(done.returncode == 1 and "row 1" in done.stderr and said in done.stderr, f"{task}: {done.stderr}")
    expect(not (folder / "bad").exists(), "a bad row leaves no file")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fathom-eval-data-") as scratch:
        folder = Path(scratch)
        check_cases(folder, folder / "out")
        check_other_forms(folder)
        if arguments.fathom:
            tasks = ",".join(task for task, *_ in CASES)
            done = subprocess.run([arguments.fathom, "eval", MODEL, "--tasks", tasks, "--data", folder / "out"],
                                  capture_output=True, text=True)
            expect(done.returncode == 0, done.stderr)
    print(f"{len(CASES)} tasks")


if __name__ == "__main__":
    main()
