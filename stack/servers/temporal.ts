import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Connection } from "@temporalio/client";
import { LocalProcess, SERVER_READY_LIMIT_MS } from "../process/local-process.ts";
import { findTemporal } from "../programs/temporal-program.ts";
import { type Ports, requireFreePorts } from "./ports.ts";

async function answers(address: string, uiUrl: string, signal: AbortSignal): Promise<void> {
  const connection = await Connection.connect({ address, connectTimeout: 1000 });
  try {
    await connection.withDeadline(Date.now() + 2000, () =>
      connection.workflowService.describeNamespace({ namespace: "default" }),
    );
  } finally {
    await connection.close();
  }
  const ui = await fetch(uiUrl, { signal });
  await ui.body?.cancel();
  if (!ui.ok) throw new Error(`the Web UI answers ${ui.status}`);
}

export function temporalProcess(home: string, cacheDir: string, ports: Ports): LocalProcess {
  const folder = join(home, "temporal");
  const database = join(folder, "temporal.db");
  return new LocalProcess({
    name: "temporal",
    title: "Temporal",
    home,
    mark: database,
    async prepare(work) {
      const command = await findTemporal(cacheDir, work);
      await requireFreePorts(ports, ["temporal", "temporalUi", "temporalMetrics"]);
      await mkdir(folder, { recursive: true });
      const listen = ["--ip", "127.0.0.1", "--port", `${ports.temporal}`, "--ui-port", `${ports.temporalUi}`];
      // Without this option it uses a random port for its metrics.
      const metrics = ["--metrics-port", `${ports.temporalMetrics}`];
      const args = ["server", "start-dev", "--db-filename", database, ...listen, ...metrics, "--log-level", "warn"];
      return { command, args };
    },
    probe: (signal) => answers(`127.0.0.1:${ports.temporal}`, `http://127.0.0.1:${ports.temporalUi}`, signal),
    readyLimitMs: SERVER_READY_LIMIT_MS,
    graceMs: 15_000,
  });
}
