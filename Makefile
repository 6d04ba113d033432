# SPDX-License-Identifier: Apache-2.0
# The commands of a fresh clone. Each makes .venv first if it is not there.
#
#   make sim-train TASK=walker_walk PRESET=quick ARGS='--seed 1'

TASK ?= cartpole_swingup
PRESET ?= quick
ARGS ?=
# Distribution whose rclpy the tests run on: kilted, jazzy, or humble (Jazzy's wheels on Python 3.10,
# without what Humble's rclpy lacks). Each has an environment of its own.
ROS ?= kilted
VENV ?= $(if $(filter kilted,$(ROS)),.venv,.venv-$(ROS))
# ENGINE=torch: the tests run as where OpenVINO is not installed.
ENGINE ?= auto
WITHOUT_OPENVINO := $(if $(filter torch,$(ENGINE)),PYTHONPATH=$(CURDIR)/tests/masking/without_openvino)
ROS_TESTS := tests/ros tests/nodes tests/e2e
BIN := $(VENV)/bin

export VENV
export ROS
ifeq ($(ROS),humble)
export PYTHON ?= python3.10
endif
export MUJOCO_GL ?= egl
# Without compiled files every start would compile torch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help sim-train sim-eval test lint pytest docs venv constraints

help:
	@echo 'make sim-train  train a policy on masked frames over ROS 2 topics (TASK, PRESET, ARGS)'
	@echo 'make sim-eval   try the policy that comes with the package before videos (TASK, ARGS)'
	@echo 'make test       ruff, import-linter, mypy and all tests that take seconds'
	@echo '                ROS=jazzy, ROS=humble: nodes and whole graphs on that rclpy'
	@echo '                ENGINE=torch: as where OpenVINO is not installed'
	@echo 'make lint       the same without the tests'
	@echo 'make pytest     only tests, a worker a core, 4 at most (ARGS; -n0: no workers)'
	@echo 'make docs       the documentation as a site, in build/site; a dead link is an error'
	@echo 'make venv       only make .venv'
	@echo 'make constraints  write constraints.txt anew (ARGS=--upgrade: newer versions)'

sim-train: venv
	@$(BIN)/samg run sim_train --task $(TASK) --preset $(PRESET) $(ARGS)

sim-eval: venv
	@$(BIN)/samg eval policy $(TASK) --episodes 4 --out runs/sim-eval/$(TASK) $(ARGS)

ifeq ($(ROS),kilted)
test: lint pytest
else
test: venv
	@PYTHONPATH=$(CURDIR)/tests/ros/$(if $(filter humble,$(ROS)),humble_like,nothing) \
		$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ROS_TESTS) $(ARGS)
endif

pytest: venv
	@$(WITHOUT_OPENVINO) $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: venv
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

docs: venv
	@$(BIN)/python scripts/parameter_table.py > docs/parameters.md
	@$(BIN)/python scripts/architecture_picture.py > docs/images/architecture.svg
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build $(ARGS)

venv:
	@scripts/make_venv.sh

constraints: venv
	@scripts/lock.sh $(ARGS)
