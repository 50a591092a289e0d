# SPDX-License-Identifier: BSD-3-Clause
# The front door; the build itself is described by CMakeLists.txt and CMakePresets.json.

all: ## build/spica
	@tools/install-packages build
	@cmake --preset release --log-level=WARNING
	@cmake --build --preset release

demo: all ## simulate images of a protein, reconstruct it, judge the result
	@tools/demo

check: ## everything that a change must pass, in about twenty minutes
	@tools/check

format: ## lay out all sources
	git ls-files '*.c' '*.h' '*.cc' '*.cu' | xargs clang-format -i

clean: ## remove everything that was built
	rm -rf build demo

help: ## this list
	@sed -n 's/^all:/:/; s/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

.PHONY: all demo check format clean help
