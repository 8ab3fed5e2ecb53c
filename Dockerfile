# docker build -t labeltransfer .
# docker run --init -p 8501:8501 -v /lab/data:/data:ro -v labeltransfer-runs:/runs labeltransfer
#
# Add --gpus all where the machine has NVIDIA GPUs. A folder of the host in place of the named volume has to be
# writable for user 1000, or for the one given with --user. README.md has more, sign-in included.
FROM python:3.11-slim-bookworm

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
    && mkdir /data /runs \
    && chown labeltransfer:labeltransfer /runs
COPY .streamlit/config.toml .streamlit/config.toml
COPY labeltransfer labeltransfer
COPY pages pages
COPY app.py serve.py ./

# A container listens on all of its interfaces; -p decides who reaches it from outside.
ENV LABELTRANSFER_DATA_DIR=/data \
    LABELTRANSFER_HOME=/runs \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8501 \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONUNBUFFERED=1

USER 1000
VOLUME ["/data", "/runs"]
EXPOSE 8501

HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-c", "import http.client as h, os; c = h.HTTPConnection('127.0.0.1', int(os.environ['STREAMLIT_SERVER_PORT']), timeout=5); c.request('GET', '/_stcore/health'); raise SystemExit(c.getresponse().status != 200)"]

CMD ["python", "-m", "streamlit", "run", "serve.py"]
