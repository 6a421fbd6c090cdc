# Node.js and its libraries, gathered by build.sh; nothing else.
FROM scratch
COPY image/ /
USER 1000:1000
ENTRYPOINT ["/bin/node"]
