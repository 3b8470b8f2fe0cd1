import { once } from "node:events";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { isTidelineError } from "../../core/errors.ts";
import { at, type Cut, type CutJson, cutToJson, partitionsOf } from "../../core/position.ts";
import type { Missing } from "../../serving/join.ts";
import type { Definition, Definitions } from "../../store/definitions.ts";
import { type Config, loadConfig } from "../config.ts";

interface ServerStatus {
  readonly server: "kafka" | "redis" | "temporal" | "api";
  readonly address: string;
  readonly reachable: boolean;
}

interface PartitionStatus {
  readonly partition: number;
  /** Last stable offset. */
  readonly logEnd: string;
  readonly archived: string;
  /** How many positions the archive is behind; not a count of records, for offsets are not dense. */
  readonly positionsBehind: number;
}

interface StreamStatus {
  readonly stream: string;
  readonly topic: string;
  readonly partitions: readonly PartitionStatus[];
  readonly problem?: string;
}

interface ViewStatus {
  readonly view: string;
  readonly generation: string;
  readonly version: number | null;
  readonly cut: CutJson | null;
  readonly applied: CutJson | null;
  /** How many positions the answer is behind the log; null when the log cannot be read. */
  readonly positionsBehind: number | null;
  readonly freshnessMs: number | null;
  readonly complete: boolean;
  readonly missing?: Missing;
}

interface ScheduleStatus {
  readonly schedule: string;
  readonly paused: boolean;
  readonly nextRun: string | null;
  /** Temporal's word for how the last run ended (COMPLETED, FAILED), RUNNING, or null before the first. */
  readonly lastResult: string | null;
}

interface Status {
  readonly healthy: boolean;
  readonly problems: readonly string[];
  readonly servers: readonly ServerStatus[];
  readonly streams: readonly StreamStatus[];
  readonly views: readonly ViewStatus[];
  readonly schedules: readonly ScheduleStatus[];
}

/** How long a server may take to answer before it counts as not reachable. */
const PATIENCE_MS = 5_000;
/** A view that is behind the log and has applied nothing for so long is stuck. */
const STUCK_MS = 60_000;

/** Adds `tideline status`. */
export function registerStatus(program: Command): void {
  program
    .command("status")
    .description("show where streams, views and schedules stand; exit code 1 when something is not healthy")
    .addOption(new Option("--json", "as JSON").default(false))
    .action(async ({ json }: { json: boolean }) => {
      const status = await findStatus(loadConfig(process.env));
      process.stdout.write(json ? `${JSON.stringify(status, null, 1)}\n` : await statusText(status));
      process.exitCode = status.healthy ? 0 : 1;
    });
}

async function findStatus(config: Config): Promise<Status> {
  const { loadDefinitions } = await import("../../store/definitions.ts");
  const definitions = await loadDefinitions(config.views);
  const [kafka, temporal, api] = await Promise.all([
    streamsOf(config, definitions),
    schedulesOf(config),
    apiAnswers(config),
  ]);
  const redis = await viewsOf(config, definitions, kafka.ends);
  const servers: ServerStatus[] = [
    { server: "kafka", address: config.kafkaBrokers, reachable: kafka.reachable },
    { server: "redis", address: withoutPassword(config.redisUrl), reachable: redis.reachable },
    { server: "temporal", address: config.temporalAddress, reachable: temporal.reachable },
    { server: "api", address: config.apiUrl, reachable: api },
  ];
  const found = { servers, streams: kafka.streams, views: redis.views, schedules: temporal.schedules };
  const problems = problemsOf(found);
  return { healthy: problems.length === 0, problems, ...found };
}

function problemsOf({ servers, streams, views, schedules }: Omit<Status, "healthy" | "problems">): string[] {
  return [
    ...servers
      .filter(({ reachable }) => !reachable)
      .map(({ server, address }) => `${server} does not answer at ${address}`),
    ...streams.flatMap(({ stream, problem }) => (problem === undefined ? [] : [`${stream}: ${problem}`])),
    ...views.flatMap(({ view, version, missing, positionsBehind, freshnessMs }) => {
      if (version === null) return [`${view}: nothing is published yet`];
      if (missing !== undefined) return [`${view}: ${missing.message}`];
      const stuck = (positionsBehind ?? 0) > 0 && (freshnessMs ?? 0) > STUCK_MS;
      return stuck
        ? [`${view}: ${positionsBehind} positions behind, and nothing applied for ${seconds(freshnessMs)}`]
        : [];
    }),
    ...schedules
      .filter(({ lastResult }) => lastResult !== null && !FINE.has(lastResult))
      .map(({ schedule, lastResult }) => `schedule ${schedule}: the last run ended ${lastResult}`),
  ];
}

const FINE = new Set(["RUNNING", "COMPLETED", "CONTINUED_AS_NEW", "UNKNOWN"]);

/** Log ends and archive of every stream; `ends` by stream name. */
async function streamsOf({ kafkaBrokers: brokers, namespace, home }: Config, { streams }: Definitions) {
  const [{ LogReader }, { Archive }, { DataDirectory }, { topicName }] = await Promise.all([
    import("../../store/log.ts"),
    import("../../store/archive.ts"),
    import("../../store/files.ts"),
    import("../../store/topics.ts"),
  ]);
  const log = new LogReader({ brokers, clientId: "tideline-status" });
  const archive = new Archive(new DataDirectory(join(home, "data")));
  const ends = new Map<string, Cut>();
  let reachable = true;
  const one = async (stream: string): Promise<StreamStatus> => {
    const topic = topicName(namespace, stream);
    try {
      const [{ id }, { stable }] = await inTime(Promise.all([log.topic(topic), log.bounds(topic)]));
      ends.set(stream, stable);
      const archived = await archive.archived(topic, id);
      const partitions = partitionsOf(stable).map((partition) => ({
        partition,
        logEnd: at(stable, partition).toString(),
        archived: at(archived, partition).toString(),
        positionsBehind: Number(at(stable, partition) - at(archived, partition)),
      }));
      return { stream, topic, partitions };
    } catch (error) {
      if (!isTidelineError(error)) reachable = false;
      return {
        stream,
        topic,
        partitions: [],
        problem: isTidelineError(error) ? error.message : "the log cannot be read",
      };
    }
  };
  const found = await Promise.all([...streams.keys()].map(one));
  await inTime(log.close()).catch(() => {});
  return { reachable, streams: found, ends };
}

async function viewsOf(
  config: Config,
  { views }: Definitions,
  ends: ReadonlyMap<string, Cut>,
): Promise<{ reachable: boolean; views: ViewStatus[] }> {
  const [{ openRedis }, { RedisGate }, { Standings }, { viewStandings }, { Manifests }, { DataDirectory }] =
    await Promise.all([
      import("../../store/redis.ts"),
      import("../../serving/redis-gate.ts"),
      import("../../serving/standings.ts"),
      import("../../serving/overview.ts"),
      import("../../store/manifests.ts"),
      import("../../store/files.ts"),
    ]);
  const redis = openRedis(config.redisUrl, () => {});
  try {
    await once(redis, "ready", { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() => {});
    const manifests = new Manifests(new DataDirectory(join(config.home, "data")));
    const standings = new Standings({ manifests, gate: new RedisGate(redis), namespace: config.namespace });
    const found = await viewStandings(standings, views.values());
    return {
      reachable: redis.status === "ready",
      views: found.map(({ definition, standing }) => viewStatus(definition, standing, ends)),
    };
  } finally {
    redis.disconnect();
  }
}

type Found = Awaited<ReturnType<typeof import("../../serving/overview.ts").viewStandings>>[number]["standing"];

function viewStatus({ view, generation }: Definition, standing: Found, ends: ReadonlyMap<string, Cut>): ViewStatus {
  const end = ends.get(view.stream.name);
  const behind =
    end === undefined || standing === null
      ? null
      : partitionsOf(end).reduce((sum, partition) => sum + at(end, partition) - at(standing.applied, partition), 0n);
  return {
    view: view.name,
    generation,
    version: standing?.manifest.version ?? null,
    cut: standing === null ? null : cutToJson(standing.cut),
    applied: standing === null ? null : cutToJson(standing.applied),
    // The log's end was read first: what was applied since then does not count against it.
    positionsBehind: behind === null ? null : Math.max(0, Number(behind)),
    freshnessMs: standing?.freshnessMs ?? null,
    complete: standing !== null && standing.missing === null,
    ...(standing === null || standing.missing === null ? {} : { missing: standing.missing }),
  };
}

/** Schedules of this installation: ids begin with its namespace, where it has one. */
async function schedulesOf({
  temporalAddress,
  temporalNamespace,
  namespace,
}: Config): Promise<{ reachable: boolean; schedules: ScheduleStatus[] }> {
  const { Client, Connection } = await import("@temporalio/client");
  const connection = await Connection.connect({ address: temporalAddress, connectTimeout: PATIENCE_MS }).catch(
    () => null,
  );
  if (connection === null) return { reachable: false, schedules: [] };
  const client = new Client({ connection, namespace: temporalNamespace });
  const lastResult = async (
    run: { workflowId: string; firstExecutionRunId: string } | undefined,
  ): Promise<string | null> => {
    if (run === undefined) return null;
    const description = await client.workflow
      .getHandle(run.workflowId, run.firstExecutionRunId)
      .describe()
      .catch(() => null);
    return description?.status.name ?? "UNKNOWN";
  };
  try {
    const schedules: ScheduleStatus[] = [];
    for await (const { scheduleId, state, info } of client.schedule.list()) {
      if (!scheduleId.startsWith(namespace)) continue;
      const last = info.recentActions.at(-1)?.action.workflow;
      schedules.push({
        schedule: scheduleId,
        paused: state.paused,
        nextRun: info.nextActionTimes[0]?.toISOString() ?? null,
        lastResult: await lastResult(last),
      });
    }
    return { reachable: true, schedules: schedules.sort((a, b) => (a.schedule < b.schedule ? -1 : 1)) };
  } catch {
    return { reachable: false, schedules: [] };
  } finally {
    await connection.close();
  }
}

async function apiAnswers({ apiUrl }: Config): Promise<boolean> {
  const response = await fetch(new URL("/health", apiUrl), { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(
    () => null,
  );
  await response?.body?.cancel();
  return response?.ok ?? false;
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), PATIENCE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function withoutPassword(url: string): string {
  const shown = new URL(url);
  shown.username = "";
  shown.password = "";
  return shown.href;
}

function seconds(ms: number | null): string {
  return ms === null ? "-" : `${(ms / 1_000).toFixed(1)} s`;
}

async function statusText({ servers, streams, views, schedules, problems }: Status): Promise<string> {
  const { default: Table } = await import("cli-table3");
  const table = (head: readonly string[], right: readonly string[], rows: readonly (readonly string[])[]) => {
    if (rows.length === 0) return [];
    const made = new Table({
      head: [...head],
      colAligns: head.map((name) => (right.includes(name) ? "right" : "left")),
      style: { head: [], border: [] },
    });
    for (const row of rows) made.push([...row]);
    return [made.toString()];
  };
  const sections = [
    ...table(
      ["server", "address", "answers"],
      [],
      servers.map(({ server, address, reachable }) => [server, address, reachable ? "yes" : "NO"]),
    ),
    ...table(
      ["stream", "partition", "log end", "archived", "positions behind"],
      ["partition", "log end", "archived", "positions behind"],
      streams.flatMap(({ stream, partitions }) =>
        partitions.map((one) => [stream, `${one.partition}`, one.logEnd, one.archived, `${one.positionsBehind}`]),
      ),
    ),
    ...table(
      ["view", "generation", "version", "batch cut", "applied", "positions behind", "fresh", "complete"],
      ["version", "positions behind", "fresh"],
      views.map((one) => [
        one.view,
        one.generation.slice(one.view.length + 1),
        `${one.version ?? "-"}`,
        cutText(one.cut),
        cutText(one.applied),
        `${one.positionsBehind ?? "-"}`,
        seconds(one.freshnessMs),
        one.complete ? "yes" : "NO",
      ]),
    ),
    ...table(
      ["schedule", "paused", "next run", "last result"],
      [],
      schedules.map(({ schedule, paused, nextRun, lastResult }) => [
        schedule,
        paused ? "yes" : "no",
        nextRun ?? "-",
        lastResult ?? "-",
      ]),
    ),
  ];
  const verdict = problems.length === 0 ? "all healthy" : problems.map((problem) => `! ${problem}`).join("\n");
  return `${[...sections, verdict].join("\n")}\n`;
}

function cutText(cut: CutJson | null): string {
  return cut === null
    ? "-"
    : Object.entries(cut)
        .map(([partition, offset]) => `${partition}:${offset}`)
        .join(" ");
}
