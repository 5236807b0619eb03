# Vesalius in a container, of the wheel that `make release` leaves in dist/. The CUDA builds of torch bring their own
# CUDA; the machine has to have NVIDIA's driver and container toolkit only.
#   make release && docker build -t vesalius .
#   docker run --gpus all -v "$PWD:/work" vesalius finetune recipe.toml --data dataset --out run
# Without GPUs, and much smaller:
#   docker build -t vesalius:cpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
# Another base has to bring Python 3.11 or newer as `python`:
#   docker build -t vesalius --build-arg BASE=my-cuda-runtime-with-python:3.11 .
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG TORCH_INDEX=https://pypi.org/simple
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/vesalius
WORKDIR /wheel
COPY constraints.txt ./
# torch first and alone: it is most of the image and changes least
RUN /opt/vesalius/bin/pip install --index-url "${TORCH_INDEX}" --extra-index-url https://pypi.org/simple \
      "$(grep '^torch==' constraints.txt)"
COPY dist/vesalius-*.whl ./
RUN /opt/vesalius/bin/pip install -c constraints.txt ./vesalius-*.whl

FROM ${BASE}
COPY --from=build /opt/vesalius /opt/vesalius
RUN useradd --create-home --uid 1000 vesalius && install -d -o vesalius /work
# Nothing needs the network: nano is in the package. A base from the hub is fetched with -e HF_HUB_OFFLINE=0, and kept
# with a volume at HF_HOME.
ENV PATH=/opt/vesalius/bin:$PATH \
    HF_HOME=/home/vesalius/.cache/huggingface \
    HF_HUB_OFFLINE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1
USER 1000
WORKDIR /work
ENTRYPOINT ["vesalius"]
CMD ["--help"]
