FROM selvedge-example/node
WORKDIR /app
COPY monitor.js alarms.js call.js package.json ./
CMD ["monitor.js"]
