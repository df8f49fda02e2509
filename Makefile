# Thin wrappers; without make, run the commands themselves.
#   make demo COMFYUI_PATH=/path/to/ComfyUI    use that installation instead of a fresh one
#   make test ARGS="tests/unit -k focus"       pytest's arguments
#   make parity                                is ImageReward the number of the image-reward package?
PYTHON ?= python3

.PHONY: setup demo test parity
setup:
	@$(PYTHON) -m runtime.setup
demo:
	@$(PYTHON) -m runtime.demo
test:
	@$(PYTHON) -m runtime.test $(ARGS)
parity:
	@$(PYTHON) -m runtime.parity $(ARGS)
