"""Conversations, snippets and random templates for check_chat_templates.py."""

import random

USER = {"role": "user", "content": "What is 2 + 2?"}
ANSWER = {"role": "assistant", "content": "It is 4."}
MORE = {"role": "user", "content": "  And twice that?\n"}
SYSTEM = {"role": "system", "content": "You are terse."}
TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather <of> a \"city\" & more, é",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 3},
                                                    "scale": {"type": "number", "default": 1.5}},
                   "required": ["city"], "additionalProperties": False}, "return": {"type": "string"}}},
         {"type": "function", "function": {"name": "now", "description": "", "parameters": {}}}]
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}}]}
CALL_WITHOUT_CONTENT = {k: v for k, v in CALL.items() if k != "content"}
RESULT = {"role": "tool", "tool_call_id": "abcdefghi", "content": '{"sky": "clear"}'}

CONVERSATIONS = {
    "question": [USER],
    "answered": [USER, ANSWER],
    "two turns": [USER, ANSWER, MORE],
    "four turns": [USER, ANSWER, MORE, {"role": "assistant", "content": "8\n\n  "}],
    "system": [SYSTEM, USER],
    "system, answered": [SYSTEM, USER, ANSWER],
    "unicode": [{"role": "user", "content": "Größe \U0001f600 日本語 \u00a0\u2028 <b>&amp;'\"</b> {{ x }}"},
                {"role": "assistant", "content": "ß \u200d \t|im_end|"}],
    "empty content": [{"role": "user", "content": ""}, ANSWER],
    "wrong order": [ANSWER, USER],
    "two questions": [USER, USER],
    "two systems": [SYSTEM, SYSTEM, USER],
    "thinking": [USER, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt is 4."}, MORE,
                 {"role": "assistant", "content": "<think>\nso\n</think>\n\n8"}],
    "tool call": [USER, CALL],
    "tool result": [SYSTEM, USER, CALL, RESULT, {"role": "assistant", "content": "Clear."}],
    "tool results": [USER, CALL_WITHOUT_CONTENT, RESULT, RESULT],
    "parts": [{"role": "user", "content": [{"type": "text", "text": " see "}, {"type": "image"}]}, ANSWER],
    "no messages": [],
}

# Templates whose point is one construct, with what they need.
DATA = {"n": 3, "x": 2.5, "s": "a b,c", "u": "Größe ß \U0001f600", "e": "", "t": True, "nil": None, "xs": [3, 1, 2],
        "words": ["b", "A", "c", "a"], "d": {"k": 1, "a": [1, {"z": None}], "items": 7, "é": "ö"},
        "people": [{"name": "Bo", "age": 3}, {"name": "al", "age": 2}, {"name": "Cy", "age": 3, "tags": ["p", "q"]}]}
SNIPPETS = r"""
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -7.5 // 2 }} {{ -7.5 % 2 }} {{ 1e20 }} {{ 1.0 }} {{ 1e-7 }} {{ 0.1 + 0.2 }}
===
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'é' > 'z' }}
===
{{ 1 in xs }} {{ 'b' in s }} {{ 'k' in d }} {{ 9 not in xs }} {{ not t }} {{ not xs and nil }} {{ nil or 'x' }} {{ e or n }} {{ t and s }}
===
{{ s[0] }}{{ s[-1] }}{{ s[1:3] }}{{ s[::-1] }}{{ u[4] }}{{ u[-1] }}{{ u[::2] }}{{ xs[1:] }}{{ xs[:-1] }}{{ xs[5:] }}{{ xs[-100:2] }}{{ xs[2:0:-1] }}{{ xs[99] }}{{ s[99] }}
===
{{ d.k }} {{ d['k'] }} {{ d.a[1].z }} {{ d['items'] }} {{ d.missing }} {{ d['missing'] is defined }} {{ nope is defined }} {{ nope }} {{ nil.foo is defined }}
===
{{ nope.foo }}
===
{{ nope + 1 }}
===
{{ nope ~ 'x' ~ 1 ~ nil ~ true ~ 1.5 ~ [1, 'a'] }}
===
{{ [1, 'a', "it's", none, true, 1.5, {'k': (1,)}, (), (1, 2)] }} {{ d }} {{ ['a\n\t\\"', 'é\u200d\x07'] }}
===
{{ 'a' 'b' ~ "\x41\u00e9\n\'\"\101\q" }}
===
{{ n if t else x }} {{ 'y' if e }}| {{ ('y' if e) is defined }} {{ 'a' if e else 'b' if n == 3 else 'c' }}
===
{% for i in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }};{% endfor %}
===
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for k in d.keys() | list %}{{ k }}{% endfor %}{% for v in d.values() %}{{ v }}{% endfor %}
===
{% for p in people if p.age == 3 %}{{ loop.index }}/{{ loop.length }}{{ p.name }} {% else %}none{% endfor %}{% for p in people if p.age == 9 %}x{% else %}none{% endfor %}
===
{% for a, (b, c) in [(1, (2, 3)), [4, [5, 6]]] %}{{ a + b + c }} {% endfor %}{% for c in 'aé' %}[{{ c }}]{% endfor %}
===
{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}{{ range(1, 10, 3) | list }}{{ range(5, 0, -2) | list }}
===
{% for i in xs %}{% for j in xs %}{{ loop.depth }}{% if j == 1 %}{% break %}{% endif %}{% endfor %}{{ loop.index }}{% endfor %}
===
{% set v = 1 %}{% for i in xs %}{{ v }}{% set v = v + i %}{{ v }} {% endfor %}{{ v }}{% if t %}{% set v = 9 %}{% endif %}{{ v }}
===
{% set ns = namespace(a=1, found=false) %}{% for i in xs %}{% set ns.a = ns.a + i %}{% if i == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.a }}{{ ns.found }}{{ ns.missing is defined }}
===
{% set ns = {'a': 1} %}{% set ns.a = 2 %}
===
{% set a, b = 1, 'two' %}{{ b }}{{ a }}{% set body %} in {{ n }} {% set inner = 1 %}{% endset %}[{{ body }}]{{ inner is defined }}{% set up | upper | trim %} abc {% endset %}[{{ up }}]
===
{% macro m(a, b='d', c=a ~ b) %}<{{ a }}|{{ b }}|{{ c }}>{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b='x', a='y') }}{{ m() }}
===
{% macro fact(k) %}{{ 1 if k < 2 else k * (fact(k - 1) | int) }}{% endmacro %}{{ fact(5) }}{% macro late() %}{{ later }}{% endmacro %}{% set later = 'L' %}{{ late() }}
===
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
===
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
===
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}{% filter upper %}x{{ s }}{% endfilter %}
===
{{ s | upper }} {{ u | upper }} {{ u | lower }} {{ 'hELLO wORLD-foo (bar)' | title }} {{ 'hELLO' | capitalize }} {{ '  x ' | trim }}| {{ 'xxaxx' | trim('x') }} {{ u | length }} {{ xs | length }} {{ d | count }} {{ nope | length }}
===
{{ s.upper() }} {{ 'a-b c'.title() }} {{ s.split() }} {{ s.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a  b '.split(' ') }} {{ '  a  b c '.split(none, 1) }} {{ 'a\nb\r\nc'.splitlines() }} {{ s.startswith('a') }} {{ s.endswith(('x', 'c')) }} {{ s.replace('b', 'ZZ') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ s.find('b') }} {{ s.find('q') }} {{ 'aXbX'.rfind('X') }} {{ 'aXbX'.count('X') }} {{ '-'.join(['a', 'b']) }} {{ ' x\n'.strip() }}|{{ 'xax'.lstrip('x') }}|{{ 'xax'.rstrip('x') }}|{{ 'abc'.removeprefix('a') }}{{ '12'.isdigit() }}{{ 'a1'.isalnum() }}{{ 'ab'.isalpha() }}{{ ' '.isspace() }}{{ 'Ab'.isupper() }}{{ 'ab'.islower() }}
===
{{ d | tojson }} {{ d | tojson(indent=2) }} {{ [] | tojson(indent=2) }} {{ {} | tojson }} {{ '<a href="x">&\'é\u2028\x07\x7f' | tojson }} {{ [1, 2.0, 1e30, true, none, (1, 2)] | tojson }} {{ d | tojson(ensure_ascii=true) }} {{ d | tojson(sort_keys=true) }} {{ xs | tojson(separators=(',', ':')) }} {{ {1: 2, true: 3, none: 4} | tojson }} {{ d | tojson(indent='--') }} {{ u | tojson(true) }}
===
{{ nope | tojson }}
===
{{ xs | sort }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ words | sort(reverse=true) }} {{ people | sort(attribute='age,name') | map(attribute='name') | join('-') }} {{ d | dictsort | length }} {{ {'b': 1, 'A': 2} | dictsort }} {{ {'b': 1, 'A': 2} | dictsort(by='value') }} {{ {'b': 1, 'A': 2} | dictsort(true, reverse=true) }} {{ words | unique | list }} {{ [1, 1.0, true, 2] | unique | list }} {{ xs | min }} {{ xs | max }} {{ people | max(attribute='age') }} {{ xs | sum }} {{ people | sum(attribute='age') }} {{ xs | reverse | list }} {{ s | reverse }}
===
{{ xs | first }} {{ xs | last }} {{ [] | first is defined }} {{ xs | join }} {{ xs | join(', ') }} {{ people | join('/', attribute='name') }} {{ xs | map('string') | list }} {{ words | map('upper') | join }} {{ people | map(attribute='tags', default='-') | list }} {{ people | selectattr('tags') | map(attribute='tags.0') | join }} {{ xs | map('default', '?') | join }} {{ xs | select('odd') | list }} {{ xs | reject('gt', 1) | list }} {{ people | selectattr('tags') | map(attribute='name') | list }} {{ people | selectattr('tags', 'defined') | list | length }} {{ people | rejectattr('age', 'equalto', 3) | list }} {{ people | selectattr('name', 'in', ['Bo', 'Cy']) | list | length }} {{ [0, '', 'a', none] | select | list }}
===
{% if xs | select('gt', 99) %}an iterator is true{% endif %}{% if xs | select('gt', 99) | list %}never{% endif %}{% set it = xs | map('string') %}{{ it | join }}{{ it | join }}
===
{{ d | items | list }} {{ nope | items | list }} {{ d.get('k') }} {{ d.get('q') }} {{ d.get('q', 5) }} {{ nope | default('D') }} {{ e | default('D') }} {{ e | default('D', true) }} {{ nil | d('D') }}
===
{{ '42' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ '3.9' | int }} {{ 3.9 | int }} {{ ' 12 ' | int }} {{ 'ff' | int(base=16) }} {{ '1.5' | float }} {{ 'x' | float }} {{ n | string ~ 'a' }} {{ 2.5 | round }} {{ 2.567 | round(2) }} {{ 2.1 | round(0, 'ceil') }} {{ -2 | abs }} {{ -2.5 | abs }} {{ 7 | round }}
===
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(2, blank=true) }}|{{ 'a\nb' | indent('> ') }}|{{ '%s-%d-%.2f-%r-%%' | format('a', 3, 2.5, 'q') }}|{{ 'x %s' % 'y' }}|{{ '%s %s' % (1, none) }}
===
{{ s is string }}{{ n is number }}{{ t is number }}{{ t is integer }}{{ x is float }}{{ n is integer }}{{ t is boolean }}{{ t is true }}{{ n is true }}{{ nil is none }}{{ d is mapping }}{{ s is iterable }}{{ n is iterable }}{{ s is sequence }}{{ d is sequence }}{{ n is sequence }}{{ nope is iterable }}{{ nope is sequence }}{{ nope is undefined }}{{ nil is defined }}{{ n is odd }}{{ n is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ n is eq 3 }}{{ n is equalto(3) }}{{ n is ne 3 }}{{ n is gt 2 }}{{ n is in xs }}{{ n is not in xs }}{{ 'a' is lower }}{{ 'A' is upper }}{{ nil is sameas none }}{{ range is callable }}{{ s is not string }}
===
{{ 1 is string }}{{ n is defined and n is odd }}{{ n is string or t }}{{ 'a' if n is defined else 'b' }}{{ -n | abs }}{{ not n is odd }}{{ s | upper | lower | length + 1 }}{{ (1, 2) + (3,) }}{{ [1] + [2] }}{{ 'ab' * 2 }}{{ 2 * [0] }}{{ 'a' + 'b' ~ 1 + 2 }}
===
{{ 'a' + 1 }}
===
{{ 1 in 'a' }}
===
{{ 1 < 'a' }}
===
{{ 1 / 0 }}
===
{{ raise_exception('no ' ~ n) }}
===
{{ xs.append(4) }}
===
{{ d.update({}) }}
===
{{ s | nofilter }}
===
{{ s is notest }}
===
{% bogus %}
===
{% if t %}unclosed
===
{{ unclosed
===
{{ (1, 2 }}
===
{{ 1 | length }}
===
{{ range(200000) | length }}
===
{% for a, b in [(1, 2, 3)] %}{% endfor %}
===
a
   {% if t %}
  b {{ n }}
    {% endif %}  
  c  {% if t %} d {% endif %}
 {# comment #}
e
   {%+ if t %} f {%+ endif %}
g {%- if t %}   h   {%- endif %} i
{% if t -%}

   j
{%- endif -%}

k
   {{ n }}
   {{- n -}}
   l {#- m -#} o
{% raw %} {{ x }} {% if %} {% endraw %} p
  {%- raw -%}  {{ q }}  {%- endraw -%}  r
{% if t +%}
s
{% endif +%}

t
===
{#- leading -#}   {% set a = {'b': {'c': [1, 2]}} %}{{ a.b.c[1] }}{{ {'x': {'y': 1}}.x.y }}{{ {'x': 1}['x'] }}{{ a['b']['c'][-1] }}{{ a.b.c.1 }}{{ {'a': 1,} }}{{ [1,] }}{{ (1,) }}
===
{% set messages = [{'role': 'user'}, {'role': 'tool'}, {'role': 'tool'}] %}{% for m in messages %}{% if loop.index0 > 0 and messages[loop.index0 - 1].role == 'tool' %}p{% endif %}{% if not loop.last and messages[loop.index0 + 1].role == 'tool' %}n{% endif %}{% if loop.previtem and loop.previtem.role == 'user' %}u{% endif %}{% endfor %}
===
{{ strftime_now('%Y-%m-%d %H:%M:%S %d %b %Y %A') }}
===
{%- macro render(schema, level) -%}{%- if schema is mapping -%}{%- for key, value in schema | dictsort -%}{{ '  ' * level }}{{ key }}:{{ render(value, level + 1) }}{%- endfor -%}{%- else -%}{{ schema | tojson }};{%- endif -%}{%- endmacro -%}{{ render({'b': {'c': 1, 'a': [1]}, 'a': none}, 0) }}
===
{{ dict(a=1, b='c') }}{{ dict({'x': 1}, y=2) }}{{ true }}{{ None }}{{ True and False }}{{ none is none }}
===
{%- generation %} in {{ n }}{% set q = 1 %}{% endgeneration %}{{ q is defined }} after
""".strip("\n").split("\n===\n")


class Random:
    """Random templates: expressions over DATA, and statements around them."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *choices):
        choice = self.r.choice(choices)
        return choice() if callable(choice) else choice

    def text(self):
        return self.pick("''", "s", "u", "e", "'a'", "' x '", "words[0]", "people[0].name", "'Aé-b c\\n'")

    def number(self):
        return self.pick("n", "x", "0", "1", "-2", "10", "xs[0]", "2.5", "xs | length", "loop.index0 | default(4)")

    def sequence(self):
        return self.pick("xs", "words", "people", "[]", "[1, 'a', none]", "xs[1:]", "(1, 2)", "s", "d", "range(3)", "nope",
                         "words | map('lower') | list", "people | selectattr('age', 'gt', 2) | list")

    def value(self):
        return self.pick(self.text, self.number, self.sequence, "t", "nil", "nope", "d", "d.k", "d.a", "v", "ns.c")

    def expression(self, depth=0):
        if depth > 2:
            return self.value()
        e = lambda: self.expression(depth + 1)
        return self.pick(
            self.value, self.value,
            lambda: f"({e()} {self.pick('+', '-', '*', '/', '//', '%', '~', '==', '!=', '<', '<=', '>', '>=', 'and', 'or', 'in', 'not in')} {e()})",
            lambda: f"(not {e()})", lambda: f"({e()} if {e()} else {e()})", lambda: f"({e()} if {e()})",
            lambda: f"{self.text()}.{self.pick('upper()', 'strip()', 'lower()', 'title()', 'split()', 'startswith(' + self.text() + ')', 'replace(' + self.text() + ', ' + self.text() + ')', 'split(' + self.text() + ')', 'find(' + self.text() + ')')}",
            lambda: f"{self.pick('s', 'u', 'xs', 'words', 'd', 'd.a', 'n', 'nope', 'people')}[{self.pick(self.number, ':2', '-1', '1:', '::-1', self.text)}]",
            lambda: f"({e()} | {self.pick('upper', 'lower', 'trim', 'length', 'string', 'tojson', 'int', 'title', 'capitalize', 'list', 'first', 'last', 'join', 'sort', 'default(1)', 'default(2, true)', 'tojson(indent=1)', 'unique | list', 'reverse | list', 'sum', 'max', 'min', 'abs', 'items | list', 'dictsort', 'indent(1)', 'replace(1, 2)', 'float', 'round')})",
            lambda: f"({e()} is {self.pick('', 'not ')}{self.pick('defined', 'none', 'string', 'number', 'mapping', 'iterable', 'sequence', 'boolean', 'true', 'false', 'odd', 'even', 'integer', 'float', 'lower', 'in xs', 'eq 1', 'gt 1')})",
            lambda: f"[{e()}, {e()}]", lambda: "{'a': " + e() + ", 'b': " + e() + "}", lambda: f"f({e()})",
            lambda: f"({self.sequence()} | {self.pick('map', 'select', 'reject')}({self.pick('', chr(39) + 'string' + chr(39), chr(39) + 'defined' + chr(39))}) | list)",
        )

    def filler(self):
        return self.pick("", " ", "\n", "\n  ", " a ", "b\n", "\t", "\n\n", "é", "  \n ")

    def tag(self, inside):
        return "{%" + self.pick("", "", "-", "+") + " " + inside + " " + self.pick("", "", "-", "+") + "%}"

    def statements(self, depth=0):
        return "".join(self.filler() + self.statement(depth) for _ in range(self.r.randint(1, 3))) + self.filler()

    def statement(self, depth):
        output = lambda: "{{" + self.pick("", "-") + " " + self.expression() + " " + self.pick("", "-") + "}}"
        if depth > 2:
            return output()
        body = lambda: self.statements(depth + 1)
        return self.pick(
            output, output, output,
            lambda: self.tag("if " + self.expression()) + body() + self.pick("", lambda: self.tag("elif " + self.expression()) + body())
            + self.pick("", lambda: self.tag("else") + body()) + self.tag("endif"),
            lambda: self.tag(f"for i in {self.sequence()}{self.pick('', ' if i', ' if i is odd')}") + body() + self.pick("", "{{ loop.index }}{{ loop.last }}", "{{ i }}")
            + self.pick("", lambda: self.tag("else") + body()) + self.tag("endfor"),
            lambda: self.tag("set v = " + self.expression()), lambda: self.tag("set ns.c = " + self.expression()),
            lambda: self.tag("set v") + body() + self.tag("endset"), lambda: "{#" + self.pick("", "-") + " c " + self.pick("", "-") + "#}",
            lambda: self.tag("macro f(q, r=1)") + "{{ q }}{{ r }}" + self.tag("endmacro"))

    def template(self):
        return "{% set ns = namespace(c=0) %}" + self.statements()
