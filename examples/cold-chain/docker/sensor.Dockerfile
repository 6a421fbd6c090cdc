FROM selvedge-example/node
WORKDIR /app
COPY sensor.js call.js package.json readings.csv ./
CMD ["sensor.js"]
