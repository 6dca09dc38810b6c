# Runs the subscriptions of a mounted supervisor.toml. The handlers are mounted beside it and found through the
# working directory:
#
#     docker build -t eventstore-runtime .
#     docker run --init --stop-timeout 30 -p 9464:9464 -v "$PWD":/app:ro \
#         -e EVENTSTORE__STORE__URL=postgresql://user:password@host/database eventstore-runtime
#
# The embedded PostgreSQL is left out: a container's data would go with it. Give the URL of a server.

FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && python -m venv /opt/eventstore \
 && /opt/eventstore/bin/pip install --no-cache-dir --disable-pip-version-check /wheels/*.whl

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin eventstore
COPY --from=build /opt/eventstore /opt/eventstore
# Only the container's own address is behind the published port, so the monitor must listen on all of them.
ENV PATH=/opt/eventstore/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    EVENTSTORE__MONITOR__HOST=0.0.0.0 \
    EVENTSTORE__MONITOR__PORT=9464
WORKDIR /app
USER eventstore
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f\"http://127.0.0.1:{os.environ['EVENTSTORE__MONITOR__PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["eventstore-runtime"]
CMD ["run", "-c", "supervisor.toml"]
