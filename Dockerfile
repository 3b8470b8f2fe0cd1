# One image for every role: `docker run tideline speed`, `worker`, `serve`, `init`.
# Not Alpine: the native parts of DuckDB and of Temporal's SDK are built for glibc.
FROM node:22.21.1-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# No package needs its install script: native parts come built, as packages of their own.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund
# Temporal's SDK brings its native part for five platforms, 28 MB each.
RUN find node_modules/@temporalio/core-bridge/releases -mindepth 1 -maxdepth 1 \
    ! -name "$(uname -m)-unknown-linux-gnu" -exec rm -r {} +

FROM node:22.21.1-bookworm-slim
LABEL org.opencontainers.image.title="Tideline" \
    org.opencontainers.image.description="Numbers that are both fresh and exact" \
    org.opencontainers.image.licenses="Apache-2.0"
# 0.0.0.0: who reaches a container's ports is for its network to say.
ENV NODE_ENV=production \
    TIDELINE_HOME=/data \
    TIDELINE_HOST=0.0.0.0
RUN install -d -o 1000 -g 1000 /data
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json ./
COPY activities activities
COPY batch-layer batch-layer
COPY cli cli
COPY core core
COPY deliveries deliveries
COPY monitor monitor
COPY discover discover
COPY ingest ingest
COPY rules rules
COPY schemas schemas
COPY serving serving
COPY speed-layer speed-layer
COPY stack stack
COPY store store
COPY systems systems
COPY workflows workflows
# Compiled now, because the program cannot be written to when it runs.
RUN node cli/bundle.js
# The program is root's and cannot change itself. A number, so that Kubernetes sees that it is not root.
USER 1000:1000
VOLUME /data
EXPOSE 7070 7071 7072
# Roles end on SIGTERM, also as process 1. Health checks differ by role: see docker-compose.yml.
ENTRYPOINT ["node", "/app/cli/tideline.js"]
CMD ["--help"]
