# A policy server on x64, on the CPU; with TensorRT: docs/containers.md. In a clone:
#
#   docker build -f docker/x64.Dockerfile -t semanticvla .
#   docker run --rm -p 8777:8777 -p 8000:8000 -e SEMANTICVLA_TOKEN -v "$PWD/policy:/policy:ro" semanticvla
FROM node:22-bookworm AS build
RUN apt-get update && apt-get install -y build-essential python3 python3-pip cmake
WORKDIR /semanticvla
# with .git: a release is made of the tracked files, and dated by their commit
COPY . .
RUN npm ci
RUN node --import tsx scripts/release.ts --processors x64 --no-tensorrt
WORKDIR /app
RUN npm init -y
RUN npm install /semanticvla/release/*.tgz sharp@^0.35.5
# says what is missing, and ends the build there
RUN npx semanticvla doctor

FROM node:22-bookworm-slim
COPY --from=build /app /app
RUN mkdir /cache && chown node:node /cache
ENV SEMANTICVLA_CACHE=/cache
USER node
VOLUME /cache
EXPOSE 8777 8000
HEALTHCHECK --start-period=10m CMD ["node", "-e", "fetch('http://127.0.0.1:8777/readyz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/node_modules/semanticvla/bin/semanticvla.js"]
# others reach the container, so SEMANTICVLA_TOKEN must be set
CMD ["serve", "/policy", "--host", "0.0.0.0"]
