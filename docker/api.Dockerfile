# The API: no torch inside, so the image stays small.
# Build from the project's root:  docker build -f docker/api.Dockerfile -t wholeslide-api .

FROM node:22-slim AS page
WORKDIR /page
COPY service/web/package.json service/web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY service/web/ ./
RUN npm run build

FROM python:3.11-slim AS build
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY docker/api_requirements.py docker/
RUN python docker/api_requirements.py > /tmp/requirements.txt \
    && python -m venv /venv && /venv/bin/pip install --no-cache-dir -c constraints.txt -r /tmp/requirements.txt
COPY wsi/ wsi/
COPY service/ service/
COPY workers/__init__.py workers/
# Without dependencies: the list above leaves torch out.
RUN /venv/bin/pip install --no-cache-dir --no-deps .
COPY --from=page /page/dist /tmp/dist
RUN mkdir -p "$(/venv/bin/python -c 'import pathlib, service; print(pathlib.Path(service.__file__).parent)')/web" \
    && cp -r /tmp/dist "$(/venv/bin/python -c 'import pathlib, service; print(pathlib.Path(service.__file__).parent)')/web/dist"

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home wsi && mkdir /data && chown wsi /data
COPY --from=build /venv /venv
WORKDIR /data
USER wsi
# There is no home to keep the fonts of reports in.
ENV WSI_DATA_DIR=/data WSI_HOST=0.0.0.0 WSI_PORT=8000 PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["/venv/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/api/v1/ready', timeout=4)"]
CMD ["/venv/bin/python", "-m", "service"]
