# make run   starts Lyss on 127.0.0.1:8003 with a demo provider
# make test  runs every test
# make help  lists the rest

JOBS ?= $(shell nproc)
DATA ?= ./data
PYTHON ?= python3

.PHONY: all deps release profile run test check test-real torture fuzz bench docs format clean help

all: release

deps:
	@tools/deps.sh build

release: deps
	@JOBS="$(JOBS)" PYTHON="$(PYTHON)" tools/release.sh

profile: deps
	@JOBS="$(JOBS)" PYTHON="$(PYTHON)" tools/release.sh fresh

run: release
	@echo "Starting build/lyss dev --data $(DATA)"
	@exec ./build/lyss dev --data $(DATA)

test:
	@tools/deps.sh test
	@exec $(PYTHON) tests/run.py

check:
	@tools/deps.sh test
	@exec $(PYTHON) tests/run.py checks

test-real: release
	@tools/deps.sh test
	@exec $(PYTHON) tests/run.py real

torture:
	@tools/deps.sh test
	@exec $(PYTHON) tests/run.py --torture

fuzz:
	@tools/deps.sh test
	@exec $(PYTHON) tests/fuzz/run.py --seconds $(or $(SECONDS),300) build-fuzz

bench: profile
	@tools/deps.sh bench
	@exec $(PYTHON) tests/bench/bench.py

docs: release
	@build/tools/gen_config_docs .
	@echo "Wrote .env.example and docs/configuration.md"

format:
	@clang-format -i $$(git ls-files 'src/*.[ch]' 'tools/*.[ch]' 'tests/*.[ch]')

clean:
	rm -rf build build-profile build-asan build-tsan build-fuzz

help:
	@echo "make             install what the build needs, build build/lyss"
	@echo "make profile     the same, with a new profile to lay its code out by if sources have changed"
	@echo "make run         install and build as make does, then start it with a demo provider (DATA=./data)"
	@echo "make test        every test, on a build with address and undefined-behaviour sanitizers"
	@echo "make check       only the checks of the source: floors, layout, models"
	@echo "make test-real   against a real model; downloads one"
	@echo "make torture     every test with full counts; takes long"
	@echo "make fuzz        each fuzz target for SECONDS=300"
	@echo "make bench       figures beside nginx and HAProxy"
	@echo "make docs        write the generated docs"
	@echo "make format      lay the source out with clang-format"
	@echo "make clean       remove the builds"
