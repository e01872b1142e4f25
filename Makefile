# Thin: every line is a command a person could type. `make demo` and `make test` do their own set-up.

export CARGO_INCREMENTAL ?= 1
MAKEFLAGS += --no-print-directory
PILLION = target/release/pillion
DATA = ../shared/data
INPUT ?=
FULL ?=
RATE ?= 50000/s
PREFIX ?= /usr/local

.PHONY: demo test loom fuzz lint bench bench-gpu lab planted soak models release onnxruntime toolchain install python crash

# The file that states the tick sizes of a recording without definition records. What it does not state either is guessed, and said
# to be.
INSTRUMENTS ?= config/instruments/es.toml
UNITS = --instruments $(INSTRUMENTS) --guess

# Replay INPUT (any .dbn or .dbn.zst), or synthetic ticks, through the bundled models; FULL=1 prints the tables too.
demo: onnxruntime release
	$(PILLION) demo --rate $(RATE) --html target/demo.html $(if $(FULL),--full) $(if $(INPUT),--input $(INPUT) $(UNITS))

# Everything runs, whatever failed before it; what failed stands at the end.
test: onnxruntime toolchain
	scripts/run-all "cargo test --workspace --no-fail-fast" "$(MAKE) crash" "$(MAKE) loom" \
		"scripts/fuzz 15 attach tables" "$(MAKE) python"

# Every role killed at every store and system call, and thousands of times at random; survivors go on.
crash:
	cargo test -p pillion-shm --features crash --test crash

# Every interleaving of the shared-memory protocols, shrunk; and the mutations that must be caught.
loom:
	RUSTFLAGS="--cfg loom" cargo test -p pillion-shm --release --test loom --target-dir target/loom

# Any bytes as regions, tables, records and market data files: so many seconds each, on one core.
FUZZ_SECONDS ?= 300
fuzz:
	scripts/fuzz $(FUZZ_SECONDS)

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo fmt --check --manifest-path shm/python/Cargo.toml
	cargo clippy --quiet --manifest-path shm/python/Cargo.toml --target-dir target/python-lint -- -D warnings
	cargo fmt --check --manifest-path benches/peers/Cargo.toml
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

bench: onnxruntime release
	cargo bench --bench stages
	cargo bench --bench stages -- --quick --set=benches/thirty.toml
	scripts/bench-shm
	scripts/bench-replay $(PILLION) $(DATA)
	test -e target/bench-models/index.toml || scripts/bench-models
	cargo bench --bench engines
	cargo bench --bench scale -- --json target/scale.json
	$(PILLION) report target/scale.json --html target/scale.html

# The GPU against the CPU, with and without CUDA graphs, 1, 64 and 1,024 instruments a run. Without a GPU it says so.
bench-gpu:
	scripts/bench-gpu run

# Every load model, the knee and the tail of INPUT, of the ES day, or, without both, of synthetic ticks: target/lab.html
# to look at, lab.json, and hgrm/.
ES_DAY = $(DATA)/dbn-es/esh4-glbx-mdp3-20231225.mbo.dbn.zst
SYNTH = target/synth.dbn.zst
LAB_INPUT = $(or $(INPUT),$(if $(wildcard $(ES_DAY)),$(ES_DAY) --from 23:00:00,$(SYNTH)))
lab: onnxruntime release $(filter $(SYNTH),$(LAB_INPUT))
	$(PILLION) lab --config config/demo.toml --input $(LAB_INPUT) $(UNITS) --html target/lab.html --json target/lab.json --hgrm target/hgrm

$(SYNTH): | release
	$(PILLION) synth -o $@

# A build with 2 us planted in its features step, against a build without: `pillion ab` must find it and name the step.
planted: onnxruntime release
	cargo build --release --bin pillion --features planted-delay --target-dir target/planted
	scripts/ab-proof $(PILLION) target/planted/release/pillion

# Whole days at several rates, ten million ticks at flat memory, ten times the kills, and the fuzzer for an hour.
soak: onnxruntime release
	scripts/soak $(PILLION) $(DATA)
	PILLION_CRASH_ROUNDS=10 $(MAKE) crash
	PILLION_CRASH_ROUNDS=10 cargo test -p pillion-shm --test crash_cpp
	scripts/fuzz 900

# Tests the exporters against every library they take, and trains the bundled models anew (Python packages go to .venv).
models: onnxruntime release
	python3 -m venv .venv
	.venv/bin/pip install --quiet --requirement models/requirements.txt --requirement models/requirements-zoo.txt './models/pillion_export[test]'
	.venv/bin/python -m pytest -q models/pillion_export
	.venv/bin/python models/train.py

# The Python reader, built into .venv and tested, and the exporters' light tests; a wheel alone: pip wheel ./shm/python
python: onnxruntime release
	test -x .venv/bin/python || python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --requirement shm/python/requirements.txt --requirement models/pillion_export/requirements.txt
	VIRTUAL_ENV=$(CURDIR)/.venv .venv/bin/maturin develop --quiet --release --locked --manifest-path shm/python/Cargo.toml --target-dir target/python
	.venv/bin/python -m pytest -q shm/python
	.venv/bin/python -m pytest -q models/pillion_export/tests/test_light.py

release:
	cargo build --release --bin pillion

onnxruntime:
	scripts/fetch-onnxruntime

# What the tests need beside Rust, where it can be installed.
toolchain:
	scripts/setup-toolchain

# The C++ headers, with their CMake package, pkg-config file, protocol page and examples. Needs cmake, no compiler, no Rust.
install:
	cmake -S shm -B target/install -DCMAKE_INSTALL_PREFIX="$(abspath $(PREFIX))"
	DESTDIR="$(DESTDIR)" cmake --install target/install
