// What a test's background process is. It ends as its first argument says: at once, or on the message "close".
if (process.argv[2] === "ends") process.exit(3);
process.on("disconnect", () => process.exit());
process.on("message", (message) => {
  if (message === "close") process.exit();
  const values = [
    { labels: { view: "revenue" }, value: 3 },
    { labels: { view: "visits" }, value: 7 },
  ];
  const families = [
    { name: "failures_total", help: "failed", type: "counter", values, aggregator: "sum" },
    { name: "wait_seconds", help: "wait", type: "gauge", values: [{ labels: {}, value: Infinity }], aggregator: "max" },
  ];
  process.send({ metrics: message.metrics, families });
});
process.send("ready");
