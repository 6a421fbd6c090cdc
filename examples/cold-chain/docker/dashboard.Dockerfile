FROM selvedge-example/node
WORKDIR /app
COPY dashboard.js call.js package.json page.html ./
CMD ["dashboard.js"]
