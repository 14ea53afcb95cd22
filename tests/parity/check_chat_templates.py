#!/usr/bin/env python3
"""The chat templates of tests/text/data/chat, rendered by python3-jinja2 as `transformers` sets it up.

    check_chat_templates.py          renders all again and holds tests/text/data/chat/renderings.json to it
    check_chat_templates.py --write  writes that file, to which tests/text/chat_template_test.cpp holds Fathom
    check_chat_templates.py --random N --seed S --out FILE   a file of the same form with N other random templates

Exit code 0 if all agree, 1 if not, 77 with "SKIPPED: reason" where jinja2 is absent.
"""

import argparse
import copy
import datetime
import json
import pathlib
import sys

sys.dont_write_bytecode = True
try:
    import jinja2
    import jinja2.ext
    import jinja2.sandbox
except ImportError as error:
    print(f"SKIPPED: {error}; `apt-get install python3-jinja2` installs it")
    sys.exit(77)

import chat_cases

DATA = pathlib.Path(__file__).resolve().parents[1] / "text" / "data"
GOLDEN = DATA / "chat/renderings.json"
NOW = 1732579200  # 2024-11-26 00:00:00 UTC
TOKENS = {"llama-2": ("<s>", "</s>"), "mistral-v1": ("<s>", "</s>"), "mistral-v3": ("<s>", "</s>"),
          "llama-3": ("<|begin_of_text|>", "<|eot_id|>"), "llama-3.1": ("<|begin_of_text|>", "<|eot_id|>"),
          "gemma": ("<bos>", "<eos>"), "gemma-3": ("<bos>", "<eos>"), "phi-3": ("<s>", "<|endoftext|>"),
          "deepseek-llm": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
          "deepseek-v2": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
          "deepseek-v3": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>")}
# What Python shows of objects that have no text of their own; no template prints them on purpose.
UNPRINTABLE = ("<generator", "<function", "<built-in", "<bound", "dict_", "range(", "<Macro", "reversed", " object ", "Undefined")


class Generation(jinja2.ext.Extension):
    """{% generation %}: what it encloses is written, and its place noted."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_note"), [], [], body).set_lineno(line)

    def _note(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda form: datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)
    return made


def render(source, variables):
    """The text, or None where the template is wrong or refuses."""
    try:
        # A copy: `indent` of a list adds to that list.
        return environment().from_string(source).render(**copy.deepcopy(variables))
    except Exception:  # Python's own errors come through: TypeError, ZeroDivisionError, ...
        return None


def conversations():
    cases = []
    for path in sorted((DATA / "chat").glob("*.jinja")):
        bos, eos = TOKENS.get(path.stem, ("", "<|im_end|>"))
        tokens = {name: token for name, token in (("bos_token", bos), ("eos_token", eos)) if token}
        for name, messages in chat_cases.CONVERSATIONS.items():
            for tools in (None, chat_cases.TOOLS):
                for variables in ({}, {"enable_thinking": False, "date_string": "1 Jan 2025", "tools_in_user_message": False}):
                    for prompt in (False, True):
                        if variables and path.stem not in ("qwen3", "llama-3.1"):
                            continue
                        if tools and path.stem not in ("qwen2.5", "mistral-v3", "llama-3.1"):
                            continue
                        text = render(path.read_text(), {"messages": messages, "tools": tools, "documents": None,
                                                         "add_generation_prompt": prompt, **tokens, **variables})
                        cases.append({"template": path.stem, "conversation": name, "tools": bool(tools),
                                      "variables": variables, "prompt": prompt, "text": text})
    return cases


def randoms(count, seed):
    cases, made = [], chat_cases.Random(seed)
    while len(cases) < count:
        source = made.template()
        text = render(source, chat_cases.DATA)
        if text is None and len(cases) % 5 != 0:
            continue  # most random expressions fail: a few of these are enough
        if text is None or (len(text) < 3000 and not any(word in text for word in UNPRINTABLE)):
            cases.append({"source": source, "text": text})
    return cases


def golden(count=250, seed=1):
    return {"now": NOW, "tokens": TOKENS, "conversations": chat_cases.CONVERSATIONS, "tools": chat_cases.TOOLS,
            "data": chat_cases.DATA, "cases": conversations(),
            "snippets": [{"source": s, "text": render(s, chat_cases.DATA)} for s in chat_cases.SNIPPETS],
            "random": randoms(count, seed)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--random", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.random:
        arguments.out.write_text(json.dumps(golden(arguments.random, arguments.seed), ensure_ascii=False, indent=1) + "\n")
        return 0
    if arguments.write:
        GOLDEN.write_text(json.dumps(golden(), ensure_ascii=False, indent=1) + "\n")
        return 0
    stored = json.loads(GOLDEN.read_text())
    # Random templates are rendered as they are stored: what the generator draws may differ among Pythons.
    now = {"cases": conversations(), "snippets": [{**s, "text": render(s["source"], chat_cases.DATA)} for s in stored["snippets"]],
           "random": [{**s, "text": render(s["source"], chat_cases.DATA)} for s in stored["random"]]}
    wrong = [(kind, old, new) for kind in now for old, new in zip(stored[kind], now[kind], strict=True) if old != new]
    for kind, old, new in wrong[:5]:
        print(f"{kind}: {old}\n  is now {new['text']!r}")
    print(f"jinja2 {jinja2.__version__}: {sum(map(len, now.values())) - len(wrong)} agree, {len(wrong)} do not")
    return 1 if wrong else 0


sys.exit(main())
