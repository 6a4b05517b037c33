# docker build -t persona-bench .   # for CPUs
# docker build -t persona-bench --build-arg BASE=IMAGE --build-arg EXTRAS=vllm,judge .   # IMAGE: one with a CUDA build of torch
# docker run --rm -v "$PWD/results:/results" persona-bench lm_eval --model hf --model_args pretrained=ORG/MODEL ...
ARG BASE=python:3.11-slim
FROM ${BASE}
ARG EXTRAS=demo,api,judge
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap git \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /persona-bench
COPY . .
# torch of the base image is kept where it has one; constraints.txt would ask for another build
RUN python -c "import torch" 2> /dev/null || pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" -c constraints.txt torch
RUN pip install --no-cache-dir ".[${EXTRAS}]"
WORKDIR /results
CMD ["persona-bench", "demo"]
