# A policy server on a Jetson with TensorRT: built on the board, or on another arm64 machine with its base image. In a clone:
#
#   docker build -f docker/jetson.Dockerfile -t semanticvla .                                      JetPack 6.1, 6.2 on Orin
#   docker build -f docker/jetson.Dockerfile -t semanticvla --build-arg BASE=IMAGE --build-arg ARCHS=110 .      another one
#   docker run --rm --runtime nvidia -p 8777:8777 -p 8000:8000 -e SEMANTICVLA_TOKEN -v "$PWD/policy:/policy:ro" \
#     -v semanticvla-cache:/cache semanticvla
#
# The base image has CUDA and TensorRT with their headers. Engines are built on the board when a policy is first loaded, and
# kept in /cache: keep that volume.
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM node:22-bookworm-slim AS node

FROM ${BASE}
ARG ARCHS=87
RUN apt-get update && apt-get install -y build-essential python3 cmake
# Ubuntu's own Node is older than what the package needs
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/include/node /usr/local/include/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /semanticvla
COPY . .
RUN npm ci
RUN npm run build:native -- --archs ${ARCHS}
RUN node bin/semanticvla.js doctor
ENV SEMANTICVLA_CACHE=/cache
VOLUME /cache
EXPOSE 8777 8000
HEALTHCHECK --start-period=10m CMD ["node", "-e", "fetch('http://127.0.0.1:8777/readyz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/semanticvla/bin/semanticvla.js"]
# others reach the container, so SEMANTICVLA_TOKEN must be set
CMD ["serve", "/policy", "--host", "0.0.0.0", "--backend", "tensorrt"]
