# The service and the model that answers. Only the `serve` extra is installed: no torch.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY diplophrase ./diplophrase
COPY serving ./serving
COPY training ./training
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir '.[serve]'

FROM python:3.11-slim
# The numbers, not the name, stand in USER: so that a cluster can tell that it is not root.
RUN groupadd --gid 10001 diplophrase \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin diplophrase \
    && install -d -o 10001 -g 10001 /srv/diplophrase /srv/diplophrase/state
COPY --from=build /opt/venv /opt/venv
COPY --chown=10001:10001 models /srv/diplophrase/models
COPY --chown=10001:10001 labels/codebook.yaml /srv/diplophrase/labels/codebook.yaml
ENV PATH=/opt/venv/bin:$PATH
ENV PYTHONUNBUFFERED=1
ENV PYTHONDONTWRITEBYTECODE=1
ENV DIPLOPHRASE_HOST=0.0.0.0
ENV DIPLOPHRASE_PORT=8000
ENV DIPLOPHRASE_MODELS=/srv/diplophrase/models
ENV DIPLOPHRASE_KEYS=/srv/diplophrase/state/keys.json
ENV DIPLOPHRASE_LABELS=/srv/diplophrase/labels
ENV DIPLOPHRASE_DATABASE=sqlite:////srv/diplophrase/state/labels.db
WORKDIR /srv/diplophrase
USER 10001:10001
EXPOSE 8000
# A proxy named in the environment must not be asked for 127.0.0.1.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f\"http://127.0.0.1:{os.environ['DIPLOPHRASE_PORT']}/readyz\", timeout=4)"]
# A list, not a shell line: the process itself gets SIGTERM and ends what it has begun.
CMD ["diplophrase", "serve"]
