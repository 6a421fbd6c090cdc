# The node itself in a container, beside the engine of its host; docs/docker.md says how to build and run it. The program was
# installed into image/ before, and its native part has builds for each platform.
ARG BASE=node:24-bookworm-slim
FROM ${BASE}
# Addresses of the services that containers call are a route of the box, made with `ip`; the slim image lacks it.
RUN command -v ip >/dev/null || \
  { apt-get update && apt-get install --yes --no-install-recommends iproute2 && rm -rf /var/lib/apt/lists/*; }
COPY image/ /usr/local/
# No VOLUME: the data folder must have the same path on the host, which a volume that Docker makes by itself has not.
# A small young generation and one arena: a daemon is mostly idle.
ENV MALLOC_ARENA_MAX=1
ENTRYPOINT ["node", "--max-semi-space-size=1", "/usr/local/lib/node_modules/selvedge/bin/selvedge.js"]
CMD ["up"]
