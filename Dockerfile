# Serves a sealed model over HTTP from the light install: docs/deployment.md. The folder MODEL lies beneath this one.
#
#   make runtime
#   docker build --build-arg MODEL=artifacts/models/quantized --tag answers .
#   docker run --rm --read-only --publish 127.0.0.1:8000:8000 answers
ARG PYTHON=3.12
FROM python:${PYTHON}-slim
ARG MODEL=artifacts/models/quantized

COPY dist/requirements-app.txt dist/winnow_runtime-*.whl /tmp/dist/
RUN pip install --no-cache-dir --no-deps --no-compile -r /tmp/dist/requirements-app.txt /tmp/dist/winnow_runtime-*.whl && rm -r /tmp/dist

COPY ${MODEL} /model
# A folder that was altered ends the build here. What is imported is compiled once, as the user below cannot write it.
RUN python -c "import flows.app.application, flows.app.server, pathlib; from flows.app.served import open_served; open_served(pathlib.Path('/model'), threads=1)"

USER 65534:65534
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s CMD ["python", "-c", "import urllib.request as ask; ask.build_opener(ask.ProxyHandler({})).open('http://localhost:8000/health/ready', timeout=4)"]
ENTRYPOINT ["winnow", "app", "/model", "--host", "0.0.0.0", "--allow-remote"]
