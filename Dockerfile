# docker build -t labeltransfer .
# docker run --init -p 127.0.0.1:8501:8501 -v /lab/data:/data:ro -v labeltransfer-runs:/runs labeltransfer
#
# Add --gpus all where the machine has NVIDIA GPUs. A folder of the host in place of the named volume has to be
# writable for user 1000, or for the one given with --user. --target ray builds the image for the machines of a Ray
# cluster, with the same code under the same path. docs/server.md has more, sign-in and Docker compose included.
FROM python:3.13-slim-bookworm AS base

# Address of a package index with CPU-only PyTorch builds, for an image several GB smaller.
ARG TORCH_INDEX=""

WORKDIR /app
COPY requirements.txt ./
RUN python -m pip install --no-cache-dir pip==26.3 \
    && if [ -n "$TORCH_INDEX" ]; then \
         grep -E '^torch(vision)?==' requirements.txt > /tmp/torch.txt \
         && python -m pip install --no-cache-dir --index-url "$TORCH_INDEX" -r /tmp/torch.txt \
         && rm /tmp/torch.txt; \
       fi \
    && python -m pip install --no-cache-dir -r requirements.txt

# The code belongs to root, so that the app cannot change it; it writes to /runs and /tmp alone.
RUN useradd --uid 1000 --create-home labeltransfer \
    && mkdir /data /runs /secrets \
    && chown labeltransfer:labeltransfer /runs \
    && chmod 700 /runs
COPY .streamlit/config.toml .streamlit/config.toml
COPY labeltransfer labeltransfer
COPY pages pages
COPY app.py ./

ENV LABELTRANSFER_DATA_DIR=/data \
    LABELTRANSFER_HOME=/runs \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONUNBUFFERED=1

VOLUME ["/data", "/runs"]


# A machine of a Ray cluster: the head as it is, whose job API is then reached from the same machine alone, any other
# one with `ray start --address=HEAD:6379 --block`. Nothing of a run goes through the object store, so it is kept small.
FROM base AS ray

COPY pyproject.toml ./
# The group is pinned in pyproject.toml.
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir --group ray

# Seconds that a run may wait for a free place, here two weeks; Ray itself would give it up after 15 minutes.
ENV RAY_JOB_START_TIMEOUT_SECONDS=1209600

USER 1000
EXPOSE 6379 8265

CMD ["ray", "start", "--head", "--block", "--port=6379", "--object-store-memory=100000000", "--disable-usage-stats"]


FROM base AS app

# A container listens on all of its interfaces; -p decides who reaches it from outside.
ENV STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8501 \
    STREAMLIT_SECRETS_FILES=/secrets/secrets.toml

USER 1000
EXPOSE 8501

HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ['STREAMLIT_SERVER_PORT']), timeout=5); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]

CMD ["python", "-m", "streamlit", "run", "app.py"]
