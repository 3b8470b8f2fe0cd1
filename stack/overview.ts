import Table from "cli-table3";
import type { Ports } from "./servers/ports.ts";
import type { Servers } from "./servers/servers.ts";

/** Returns the commands to suggest at the start; `api` is the API's address. */
export type FirstSteps = (api: string) => readonly string[];

const ANY_VIEWS: FirstSteps = (api) => ["npx tideline views", `curl '${api}/views'`];

/** Returns the text that is shown once everything runs: the processes, their addresses, and commands to try. */
export function overview(servers: Servers, ports: Ports, home: string, firstSteps = ANY_VIEWS): string {
  const at = (port: number, path = "") => `http://127.0.0.1:${port}${path}`;
  const table = new Table({ head: ["What", "Where"], style: { head: [], border: [] } });
  table.push(
    ["Page and API", at(ports.api)],
    ["API documentation", at(ports.api, "/docs")],
    ["Metrics: serving", at(ports.api, "/metrics")],
    ["Metrics: speed layer", at(ports.speed, "/metrics")],
    ["Metrics: worker", at(ports.worker, "/metrics")],
    ["Temporal Web UI", servers.temporal.uiUrl ?? "that of the Temporal you gave"],
    ["Temporal", servers.temporal.address],
    ["Kafka", servers.kafka.brokers],
    ["Redis", servers.redis.given ? "as REDIS_URL says" : servers.redis.url],
    ["State and logs", home],
  );
  const commands = firstSteps(at(ports.api));
  return `${table.toString()}\n\nTry:\n${commands.map((line) => `  ${line}\n`).join("")}\nCtrl+C stops everything.`;
}
