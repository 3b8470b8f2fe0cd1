import { join } from "node:path";
import type { Cut } from "../../core/log/position.ts";
import { shownUrl } from "../../core/secrets.ts";
import { Archive } from "../../store/archive/archive.ts";
import { LiveResets } from "../../store/archive/live-resets.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { Contracts } from "../../store/definitions/contracts.ts";
import { type Definitions, loadDefinitions } from "../../store/definitions/definitions.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { livingGenerations } from "../operations/generations.ts";
import type { Config } from "../setup/config.ts";
import { inTime } from "../setup/patience.ts";
import { failuresOf } from "../status/failures.ts";
import { apiAnswers, apiRefusal } from "../status/servers.ts";
import { overviewsOf } from "../status/views.ts";
import { checkFailures } from "./failures.ts";
import { type Finding, judged, ok, problem } from "./finding.ts";
import { checkKafka } from "./kafka.ts";
import { checkMachine } from "./machine.ts";
import { checkRedis } from "./redis.ts";
import { checkStreams } from "./streams.ts";
import { checkTemporal } from "./temporal.ts";
import { checkViews } from "./views.ts";

const KEY_TODO = "Set TIDELINE_API_KEY for them to a key of `tideline keys create worker --allow read`.";

/** Runs all checks. Never throws for a fault of an installation: that is a finding. */
export async function examine(config: Config): Promise<Finding[]> {
  const definitions = await loadDefinitions(config);
  const address = shownUrl(config.apiUrl);
  const [machine, kafka, redis, temporal, api, refusal, { failures }] = await Promise.all([
    checkMachine(config),
    checkKafka(config, definitions.streams.values()),
    checkRedis(config),
    checkTemporal(config, definitions),
    apiAnswers(config),
    apiRefusal(config),
    failuresOf(config, definitions),
  ]);
  return [
    ...machine,
    ...(await checkContracts(config, definitions)),
    ...kafka.findings,
    ...redis,
    ...temporal,
    judged(api, "api.connect", `the API answers at ${address}`, {
      level: "problem",
      message: `the API does not answer at ${address}`,
      todo: "Start `tideline serve`, or set TIDELINE_API_URL.",
    }),
    ...(refusal === null ? [] : [problem("api.key", `the API refuses commands and the worker: ${refusal}`, KEY_TODO)]),
    ...checkFailures(failures),
    ...(kafka.reachable ? await checkState(config, definitions) : []),
  ];
}

/** Checks that every stream decodes records in the same way as before under its revision. Otherwise no role starts. */
async function checkContracts(config: Config, { streams }: Definitions): Promise<Finding[]> {
  const contracts = new Contracts(new DataDirectory(join(config.home, "data")));
  const moves = await contracts.moves(streams.values());
  if (moves.length > 0) {
    const todo = "Put the topic back, or give the stream another name. No role starts before that.";
    return moves.map((move) => problem("stream.contract", move, todo));
  }
  const changes = await contracts.changes(streams.values());
  if (changes.length === 0) return [ok("stream.contract", "every stream decodes as it did under its revision")];
  const todo = "Raise the stream's `revision`, or put the property back. No role starts before that.";
  return changes.map((change) => problem("stream.contract", change, todo));
}

/** Compares stored state with the log. */
async function checkState(config: Config, definitions: Definitions): Promise<Finding[]> {
  const data = new DataDirectory(join(config.home, "data"));
  const archive = new Archive(data);
  const log = new LogReader({ brokers: config.kafkaBrokers, clientId: "tideline-doctor" });
  try {
    const ends = new Map<string, Cut>();
    for (const [name, stream] of definitions.streams) {
      const bounds = await log.readableBounds(topicOf(config.namespace, stream)).catch(() => null);
      if (bounds !== null) ends.set(name, bounds.stable);
    }
    const { living, unreadable } = await livingGenerations(config, definitions);
    const served = living.filter(({ part }) => part === "served").map(({ definition }) => definition);
    const { overviews } = await overviewsOf(config, served);
    return [
      ...(await checkStreams(config, { log, archive, data, manifests: new Manifests(data) }, definitions)),
      ...(await checkViews(config, { archive, resets: new LiveResets(data) }, overviews, ends)),
      ...unreadable.map(({ error }) => problem("view.readable", error.message, error.hint)),
    ];
  } finally {
    await inTime(log.close()).catch(() => {});
  }
}
