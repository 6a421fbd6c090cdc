# The node itself in a container, beside the engine of its host; docs/install.md says how to build and run it. It needs no network
# and no shell: the program was installed into image/ before, and its native part has builds for each platform.
ARG BASE=node:24-slim
FROM ${BASE}
COPY image/ /usr/local/
VOLUME /var/lib/selvedge
# A small young generation and one arena: a daemon is mostly idle.
ENV MALLOC_ARENA_MAX=1
ENTRYPOINT ["node", "--max-semi-space-size=1", "/usr/local/lib/node_modules/selvedge/bin/selvedge.js"]
CMD ["up"]
