# Thin wrappers; without make, run the commands themselves.
#   make demo COMFYUI_PATH=/path/to/ComfyUI    use that installation instead of a fresh one
#   make test ARGS="tests/unit -k focus"       pytest's arguments
#   make test ARGS="--comfyui /path/to/ComfyUI"    the core of the tests against another ComfyUI
#   make screenshots                           the pictures of README and help pages, from the running server
#   make parity                                is ImageReward the number of the image-reward package?
PYTHON ?= python3

.PHONY: setup demo test parity screenshots
setup:
	@$(PYTHON) -m runtime.setup
demo:
	@$(PYTHON) -m runtime.demo
test:
	@$(PYTHON) -m runtime.test $(ARGS)
screenshots:
	@$(PYTHON) -m runtime.screenshots $(ARGS)
parity:
	@$(PYTHON) -m runtime.parity $(ARGS)
