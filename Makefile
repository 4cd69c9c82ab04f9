.PHONY: up preview down test check bench help
BOOTSTRAP = python3 -m bootstrap
STACK = dev
CHECKS = ruff check; ruff format --check; mypy; grep -rlE '^\#!.*/(ba|da)?sh$$' docker .ci | xargs shellcheck -x

up: ## Bring up the mesh of a stack (STACK=dev), whatever the machine lacks for it, and prove that it works
	@$(BOOTSTRAP) up --stack $(STACK)
preview: ## Show what `make up` would change, and change nothing
	@$(BOOTSTRAP) preview --stack $(STACK)
down: ## Destroy everything that `make up` made
	@$(BOOTSTRAP) down --stack $(STACK)
test: ## Run all tests
	@$(BOOTSTRAP) run -- python -m pytest
check: ## Lint, format check, types, shell scripts
	@$(BOOTSTRAP) run --no-docker -- sh -euc "$(CHECKS)"
bench: ## Measure throughput, times and memory
	@$(BOOTSTRAP) run -- python -m tests.bench
help: ## Show this list
	@sed -nE 's/^([a-z]+): ## /\1\t/p' Makefile
