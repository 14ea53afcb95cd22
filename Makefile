# For people. `make demo` is the first minute; `make test` is what CI runs.
BUILD := build/release
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
.DEFAULT_GOAL := build
.PHONY: build deps demo test sanitize sanitize-threads bench coverage fuzz format install parity-venv parity-llama eval-venv eval-parity parity clean

deps:
	@scripts/install-packages.sh build

build: deps
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)

demo: deps
	@scripts/install-packages.sh demo
	@cmake --preset release -DFATHOM_TESTS=OFF -DFATHOM_BENCH=OFF -B build/demo >/dev/null
	@cmake --build build/demo -j $(JOBS) --target fathom
	@scripts/demo.sh build/demo/src/cli/fathom

test: deps
	@scripts/install-packages.sh test
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)
	@ctest --preset release; code=$$?; scripts/skipped-tests.sh $(BUILD); exit $$code

sanitize: deps
	@cmake --preset asan-ubsan >/dev/null
	@cmake --build --preset asan-ubsan -j $(JOBS)
	@ctest --preset asan-ubsan

# Races: the pool of threads, and the kernels that work on several.
sanitize-threads: deps
	@cmake --preset tsan >/dev/null
	@cmake --build --preset tsan -j $(JOBS)
	@ctest --preset tsan

bench: deps
	@scripts/install-packages.sh bench
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)
	@scripts/bench.sh $(BUILD)/src/cli/fathom

coverage: deps
	@scripts/install-packages.sh test coverage
	@cmake --preset coverage >/dev/null
	@cmake --build --preset coverage -j $(JOBS)
	@ctest --preset coverage
	@gcovr --root . --filter src/ --object-directory build/coverage --gcov-ignore-parse-errors --print-summary --txt build/coverage/coverage.txt
	@tail -n 4 build/coverage/coverage.txt

# Each parser FUZZ_SECONDS long, from its corpus; what is found is left in build/fuzz.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := safetensors safetensors_index gguf config shard tokenizer_json tokenizer_model \
  chat_template
fuzz: deps
	@scripts/install-packages.sh fuzz
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz -j $(JOBS) --target $(addsuffix _fuzz,$(FUZZ_TARGETS))
	@for t in $(FUZZ_TARGETS); do scripts/fuzz.sh $$t $(FUZZ_SECONDS) || exit 1; done

format: deps
	@scripts/install-packages.sh format
	@clang-format -i $$(git ls-files '*.h' '*.cpp')

install: build
	@cmake --install $(BUILD) --prefix $(PREFIX)

# The environment in which Hugging Face's transformers opens our checkpoints (pinned versions over Debian's torch).
parity-venv:
	@scripts/install-packages.sh bench parity
	@/usr/bin/python3 -m venv --system-site-packages .venv-parity
	@.venv-parity/bin/pip install -q --disable-pip-version-check -r tests/parity/requirements.txt

# llama.cpp, built from the sources in PyPI's llama-cpp-python, which runs our GGUF exports.
parity-llama:
	@scripts/install-packages.sh build parity
	@/usr/bin/python3 -m venv .venv-llama
	@CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) .venv-llama/bin/pip install -q --disable-pip-version-check -r tests/parity/requirements-llama.txt

# And lm-evaluation-harness, which `fathom eval` is held to (tests/parity/check_eval.py).
eval-venv: parity-venv
	@.venv-parity/bin/pip install -q --disable-pip-version-check -r tests/parity/requirements-eval.txt

# EVAL_MODEL: a .gguf file or a Hugging Face folder; EVAL_DATA: a folder of <task>.<split>.jsonl.
eval-parity: build
	@.venv-parity/bin/python tests/parity/check_eval.py --model $(EVAL_MODEL) --data $(EVAL_DATA) --fathom $(BUILD)/src/cli/fathom

parity: build
	@/usr/bin/python3 tests/parity/check_logits.py --fathom $(BUILD)/src/cli/fathom || [ $$? -eq 77 ]
	@/usr/bin/python3 tests/parity/check_pruned.py --fathom $(BUILD)/src/cli/fathom || [ $$? -eq 77 ]
	@/usr/bin/python3 tests/parity/check_adapter.py --fathom $(BUILD)/src/cli/fathom || [ $$? -eq 77 ]
	@/usr/bin/python3 tests/parity/check_export.py --fathom $(BUILD)/src/cli/fathom || [ $$? -eq 77 ]
	@/usr/bin/python3 tests/parity/check_llama_cpp.py --fathom $(BUILD)/src/cli/fathom || [ $$? -eq 77 ]
	@.venv-parity/bin/python tests/parity/check_tokenizer.py --fathom $(BUILD)/src/cli/fathom || [ $$? -eq 77 ]
	@.venv-parity/bin/python tests/parity/check_foreign_tokenizers.py --fathom $(BUILD)/src/cli/fathom || [ $$? -eq 77 ]

clean:
	@rm -rf build
