#!/usr/bin/env python3
"""The learning rate and the table of examples/sft-comparison.sh, from the results of its runs.

rate RESULTS SCHEME         the rate of the short run with the lowest validation loss; runs that diverged have none
table RESULTS SCHEME...     accuracy after fine-tuning, with standard errors. A difference from the first scheme is
                            marked '~' where it is within two standard errors of the paired difference (over the same
                            questions), that is within noise.
"""

import json
import math
import os
import sys

RATES = ("5e-4", "1e-3", "2e-3")


def read(folder, name):
    path = os.path.join(folder, name + ".json")
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def best_rate(folder, scheme):
    results = [(read(folder, f"{scheme}-{rate}"), rate) for rate in RATES]
    done = [(result, rate) for result, rate in results if result]
    losses = [(result["val_loss"], rate) for result, rate in done
              if result.get("val_loss") is not None and math.isfinite(result["val_loss"])]
    if not losses and any("val_loss" not in result for result, _ in done):
        sys.exit(f"{scheme}: the short runs were not evaluated: the text is too short to have validation documents")
    if not losses:
        sys.exit(f"{scheme}: none of the short runs came to an end")
    return min(losses)[1]


def is_right(item):
    """By the score that the field reports: normalized by length where the task has it."""
    return float(item.get("answer_norm", item["answer"]) == item["gold"])


def standard_error(values):
    n = len(values)
    mean = sum(values) / n
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)


def scores(result):
    """{task: {question: 0 or 1}}"""
    return {task["task"]: {item["id"]: is_right(item) for item in task["items"]} for task in result["tasks"]}


def mean(values):
    return sum(values) / len(values)


def cell(own, first):
    """own, first: {question: 0 or 1} of one task."""
    text = f"{100 * mean(list(own.values())):.2f} +- {100 * standard_error(list(own.values())):.2f}"
    if own is first:
        return text
    difference = [own[q] - first[q] for q in own if q in first]
    noise = 2 * standard_error(difference)
    return text + (" ~" if abs(mean(difference)) <= noise else "")


def average_cell(own, first):
    """Of the tasks, each with the same weight; their errors are independent."""
    def average(s):
        return mean([mean(list(t.values())) for t in s.values()])

    def error(errors):
        return math.sqrt(sum(e * e for e in errors)) / len(errors)

    text = f"{100 * average(own):.2f} +- {100 * error([standard_error(list(t.values())) for t in own.values()]):.2f}"
    if own is first:
        return text
    pairs = [[own[t][q] - first[t][q] for q in own[t] if q in first[t]] for t in own]
    noise = 2 * error([standard_error(p) for p in pairs])
    return text + (" ~" if abs(mean([mean(p) for p in pairs])) <= noise else "")


def table(folder, schemes):
    results = {s: scores(read(folder, s + "-eval")) for s in schemes if read(folder, s + "-eval")}
    if not results:
        sys.exit("no scheme was scored yet")
    first = next(iter(results.values()))
    rows = [["scheme", "rate", "pretraining ppl", *first, "average"]]
    for scheme, own in results.items():
        pretrained = read(folder, scheme) or {}
        rows.append([scheme, best_rate(folder, scheme), f"{pretrained.get('val_ppl', math.nan):.2f}"]
                    + [cell(own[task], first[task]) for task in first] + [average_cell(own, first)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    print(f"\nAccuracy in percent, +- its standard error over questions; ~: the difference from {next(iter(results))} is "
          "within two\nstandard errors of the paired difference, that is within noise. One seed a scheme.")


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in ("rate", "table"):
        sys.exit(__doc__)
    if sys.argv[1] == "rate":
        print(best_rate(sys.argv[2], sys.argv[3]))
    else:
        table(sys.argv[2], sys.argv[3:])


if __name__ == "__main__":
    main()
