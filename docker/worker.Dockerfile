# A worker, for CPU and GPU alike: the torch that pip installs by default runs on both. For a smaller
# image without CUDA, name an index of CPU builds:
#   docker build -f docker/worker.Dockerfile --build-arg PIP_EXTRA_INDEX_URL=... -t wholeslide-worker .

FROM python:3.11-slim AS build
ARG PIP_EXTRA_INDEX_URL=""
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY wsi/ wsi/
COPY service/__init__.py service/
COPY workers/ workers/
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir -c constraints.txt ".[worker,otel,s3]"

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home wsi && mkdir /data && chown wsi /data
COPY --from=build /venv /venv
WORKDIR /data
USER wsi
# The worker gives its processes the allocator settings that computing on a CPU needs (wsi/heap.py).
ENV WSI_DATA_DIR=/data PYTHONUNBUFFERED=1
# Alive means that its process can reach the jobs; a busy worker is healthy.
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s CMD ["/venv/bin/python", "-m", "workers.probe"]
CMD ["/venv/bin/python", "-m", "workers"]
