import { type FileHandle, mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { loadConfig } from "../../../cli/setup/config.ts";
import { interruptible, showProgress } from "../../../cli/terminal/progress.ts";
import type { ShopProgress, ShopRun } from "../simulator/simulate.ts";

export interface ShopFlags {
  readonly rate: number;
  readonly count?: number;
  readonly seed?: number;
  readonly from?: number;
  readonly bursts: boolean;
  readonly duplicates: number;
  readonly late: number;
  readonly malformed: number;
  readonly avro: number;
  readonly mode: "kafka" | "file";
  readonly outfolder?: string;
  readonly json: boolean;
}

/** `tideline simulate shop`. */
export async function simulateShop(flags: ShopFlags, command: Command): Promise<void> {
  const { rate, bursts, duplicates, late, malformed, avro, count, from: fromMs = Date.now(), mode, outfolder } = flags;
  if (mode === "kafka" && outfolder !== undefined) command.error("error: --outfolder needs --mode file");
  if (mode === "file") {
    if (outfolder === undefined) return command.error("error: --mode file needs --outfolder <path>");
    if (count === undefined) return command.error("error: --mode file needs --count <n>");
    if (malformed + avro > 0)
      return command.error("error: --malformed and --avro need --mode kafka: files hold lines of JSON");
  }
  const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 48);
  process.stderr.write(`seed ${seed}\n`);
  const line = showProgress("orders");
  const result = await interruptible((stop) => {
    const onProgress = ({ orders }: ShopProgress) => {
      if (count !== undefined) line.update(orders, count);
    };
    const disorder = { duplicates, late, malformed, avro };
    const run = { seed, rate, fromMs, bursts, disorder, count: count ?? Number.POSITIVE_INFINITY, stop, onProgress };
    return outfolder === undefined ? sendToKafka(run) : writeFiles(run, outfolder);
  }).finally(() => line.stop());
  const { sent, orders, seconds } = result;
  const perSecond = Math.round(sent / Math.max(seconds, 0.001));
  const text =
    `${sent} records sent, ${orders} orders among them, in ` + `${seconds.toFixed(1)} s (${perSecond}/s), seed ${seed}`;
  process.stdout.write(`${flags.json ? JSON.stringify({ sent, orders, seconds, rate: perSecond, seed }) : text}\n`);
}

async function sendToKafka(run: ShopRun): Promise<ShopProgress> {
  const { simulateShop } = await import("../simulator/simulate.ts");
  const { DataDirectory } = await import("../../../store/files/files.ts");
  const { openRegistry } = await import("../../../store/registry/registry-open.ts");
  const { kafkaBrokers: brokers, namespace, home, schemaRegistry } = loadConfig(process.env);
  const registry = openRegistry(new DataDirectory(join(home, "data")), schemaRegistry);
  return simulateShop({ brokers, namespace, registry }, run);
}

/** A file per stream; the records of each in the order of their delivery. */
async function writeFiles(run: ShopRun, folder: string): Promise<ShopProgress> {
  const { delivered } = await import("../simulator/disorder.ts");
  const { ordersUpTo, shopStreams } = await import("../simulator/simulate.ts");
  const { shopEvents } = await import("../simulator/shop.ts");
  const beganMs = performance.now();
  await mkdir(folder, { recursive: true });
  const files = new Map<string, FileHandle>();
  for (const { name } of shopStreams) files.set(name, await open(join(folder, `${name}.ndjson`), "w"));
  let orders = 0;
  let sent = 0;
  const progress = () => ({ sent, orders, seconds: (performance.now() - beganMs) / 1_000 });
  try {
    const events = ordersUpTo(run.count, shopEvents(run), () => {
      orders += 1;
    });
    let lines = new Map<string, string[]>();
    const flush = async () => {
      for (const [name, texts] of lines) await files.get(name)?.write(`${texts.join("\n")}\n`);
      lines = new Map();
      run.onProgress(progress());
    };
    for (const { stream, value } of delivered(events, run.seed, run.disorder)) {
      const others = lines.get(stream.name);
      if (others === undefined) lines.set(stream.name, [String(value)]);
      else others.push(String(value));
      sent += 1;
      if (sent % 5_000 !== 0) continue;
      await flush();
      if (run.stop.aborted) break;
    }
    await flush();
  } finally {
    for (const file of files.values()) await file.close();
  }
  return progress();
}
