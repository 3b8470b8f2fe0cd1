// What a test's background process is. Its first argument says what it does: it ends at once, or when it is ready, or
// it
// is never ready; else it answers, and ends on the message "close".
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
    { name: "start_seconds", help: "start", type: "gauge", values: [{ labels: {}, value: 5 }], aggregator: "omit" },
    { name: "wait_seconds", help: "wait", type: "gauge", values: [{ labels: {}, value: Infinity }], aggregator: "max" },
  ];
  process.send({ metrics: message.metrics, families });
});
if (process.argv[2] !== "hangs")
  process.send("ready", () => {
    if (process.argv[2] === "ends when it is ready") process.exit(4);
  });
