# What a person types often; each line is an ordinary command.
UV_LOCK = uv pip compile pyproject.toml --universal --python-version 3.11 --no-header --no-annotate --quiet

.PHONY: up test check lock

up:
	python3 manage.py up

test:
	python3 manage.py test

check:
	.ci/run

# The test lock holds only what requirements.txt does not: the two are installed together.
lock:
	$(UV_LOCK) --output-file requirements.txt
	$(UV_LOCK) --extra test --constraint requirements.txt | grep -vxFf requirements.txt > tests/requirements.txt
