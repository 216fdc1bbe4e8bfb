# Everything that a run needs, as requirements.txt locks it; the checkout stays outside (docs/environments.md).
FROM python:3.12-slim-bookworm

WORKDIR /opt/lock
COPY requirements.txt requirements-evaluation.txt ./
RUN pip install --no-cache-dir -r requirements.txt -r requirements-evaluation.txt

# The user is the host's, who has no home here.
ENV HOME=/tmp MPLBACKEND=agg
WORKDIR /work
ENTRYPOINT ["snakemake"]
CMD ["--cores", "all"]
