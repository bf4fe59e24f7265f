# make                 list these targets
# make demo            train Cascade Mask R-CNN with ConvNeXt-T on the mini data, evaluate it, draw what it finds
# make test            run the tests
# make test-gpu        run the Triton kernels' tests on the GPU, at real sizes too
# make test-openmmlab  run the tests on the original OpenMMLab packages
# make lint            check style, types and imports, and that the generated pages are up to date
# The others need python3 (3.10 to 3.13, with venv) and make, and install the rest into a folder of their own.

PYTHON ?= python3
STACK ?= onedl
ifneq ($(words $(filter $(STACK),onedl openmmlab)),1)
$(error STACK=$(STACK) must be onedl (the maintained OpenMMLab packages) or openmmlab (the original ones))
endif
VENV = $(if $(filter onedl,$(STACK)),.venv,.venv-$(STACK))
RUN = $(VENV)/bin/python
INSTALLED = $(VENV)/installed-$(shell cat setup.py constraints.txt | cksum | cut -d' ' -f1)

# On few cores, threads that spin while they wait for each other lose their turn to whatever else runs: with one other
# process on two cores a training step took several times as long. Threads that sleep do not
export OMP_WAIT_POLICY ?= PASSIVE

# Many containers set this, and each of the tests' many processes would compile thousands of modules anew, for 9 s
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo test test-gpu test-openmmlab lint

help:
	@sed -n 's/^# make/make/p' Makefile

demo: $(INSTALLED)
	$(RUN) tools/train.py configs/detection/cascade_convnext_t_3x.py --mini --seed 0

# One process for each core, of one thread each; a test file stays in one process, whose fixtures it shares. The files
# are handed out in the order of tests/conftest.py: pytest-xdist would begin with those of most tests, not the longest
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-gpu: $(INSTALLED)
	$(RUN) -c "import torch; assert torch.cuda.is_available(), 'make test-gpu needs a GPU that PyTorch can use'; \
	from mmconvnext.kernels.dispatch import CAPABILITIES as known; found = torch.cuda.get_device_capability(); \
	assert found in known, f'make test-gpu needs a GPU of compute capability {known}; this one has {found}'"
	$(RUN) -m pytest tests/kernels/triton

test-openmmlab:
	$(MAKE) test STACK=openmmlab

lint: $(INSTALLED)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports
	$(RUN) tools/verify_zoo.py --check
	$(RUN) -m benchmarks.report --check

# opencv-python needs libGL and X11, which servers lack; the headless build of the same release goes over it
$(INSTALLED):
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --no-compile -c constraints.txt -e '.[$(STACK),test,lint]'
	$(RUN) -m pip install --quiet -c constraints.txt --force-reinstall --no-deps opencv-python-headless
	touch $@
