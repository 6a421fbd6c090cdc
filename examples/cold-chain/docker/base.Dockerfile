# Node.js and its libraries, gathered by build.sh; nothing else.
FROM scratch
COPY root /
USER 1000:1000
ENTRYPOINT ["/bin/node"]
