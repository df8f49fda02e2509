# Thin wrappers; without make, run the commands themselves.
#   make demo COMFYUI_PATH=/path/to/ComfyUI    use that installation instead of a fresh one
#   make test ARGS="tests/unit -k focus"       pytest's arguments
#   make test ARGS="--comfyui /path/to/ComfyUI"    the core of the tests against another ComfyUI
#   make check                                 style, import rules, types, docstrings, sizes of documents
#   make unit                                  the tests that need no ComfyUI and take no seconds
#   make test-all                              long tests, 200 hostile inputs for each reader, and exactness as well
#   make screenshots                           the pictures of README and help pages, from the running server
#   make parity                                do the reward models give the numbers of the original packages?
PYTHON ?= python3

.PHONY: setup demo check unit test test-all parity screenshots
setup:
	@$(PYTHON) -m dev.setup
demo:
	@$(PYTHON) -m dev.demo
check:
	@$(PYTHON) -m dev.check $(ARGS)
unit:
	@$(PYTHON) -m dev.test tests/unit -n 2 -m "not slow and not long" $(ARGS)
test:
	@$(PYTHON) -m dev.test $(ARGS)
test-all: check
	@$(PYTHON) -m dev.test --all $(ARGS)
screenshots:
	@$(PYTHON) -m dev.screenshots $(ARGS)
parity:
	@$(PYTHON) -m dev.parity $(ARGS)
