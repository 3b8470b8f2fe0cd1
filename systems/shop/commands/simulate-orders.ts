import { open } from "node:fs/promises";
import type { Command } from "commander";
import { loadConfig } from "../../../cli/setup/config.ts";
import { interruptible, showProgress } from "../../../cli/terminal/progress.ts";
import type { SimulationProgress } from "../orders/simulate.ts";

export interface OrdersFlags {
  readonly rate: number;
  readonly count?: number;
  readonly seed?: number;
  readonly mode: "kafka" | "file";
  readonly outfile?: string;
  readonly from?: number;
  readonly json: boolean;
}

/** `tideline simulate orders`. */
export async function simulateOrders(flags: OrdersFlags, command: Command): Promise<void> {
  const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 48);
  if (flags.mode === "file") await writeFile(flags, seed, command);
  else await sendToKafka(flags, seed, command);
}

async function sendToKafka(flags: OrdersFlags, seed: number, command: Command): Promise<void> {
  for (const flag of ["outfile", "from"] as const) {
    if (flags[flag] !== undefined) command.error(`error: --${flag} needs --mode file`);
  }
  const { simulateOrders } = await import("../orders/simulate.ts");
  const { kafkaBrokers: brokers, namespace } = loadConfig(process.env);
  process.stderr.write(`seed ${seed}\n`);
  const { rate, count } = flags;
  const line = showProgress("orders");
  const result = await interruptible((stop) =>
    simulateOrders({
      brokers,
      namespace,
      seed,
      rate,
      stop,
      ...(count === undefined ? {} : { count, onProgress: ({ sent }) => line.update(sent, count) }),
    }),
  ).finally(() => line.stop());
  report(flags, seed, result);
}

async function writeFile(flags: OrdersFlags, seed: number, command: Command): Promise<void> {
  const { outfile, count, rate, from = Date.now() } = flags;
  if (outfile === undefined) return command.error("error: --mode file needs --outfile <path>");
  if (count === undefined) return command.error("error: --mode file needs --count <n>");
  const { orderLines } = await import("../orders/simulate.ts");
  const beganMs = performance.now();
  let sent = 0;
  await interruptible(async (stop) => {
    const file = await open(outfile, "w");
    try {
      for (const { text, lines } of orderLines({ seed, count, from, rate })) {
        if (stop.aborted) break;
        await file.write(text);
        sent += lines;
      }
    } finally {
      await file.close();
    }
  });
  report(flags, seed, { sent, acknowledged: sent, seconds: (performance.now() - beganMs) / 1000 });
}

function report({ json }: OrdersFlags, seed: number, { sent, acknowledged, seconds }: SimulationProgress): void {
  const rate = Math.round(sent / Math.max(seconds, 0.001));
  const counts = `${sent} orders sent, ${acknowledged} acknowledged`;
  const text = `${counts}, in ${seconds.toFixed(1)} s (${rate}/s), seed ${seed}`;
  process.stdout.write(`${json ? JSON.stringify({ sent, acknowledged, seconds, rate, seed }) : text}\n`);
}
