import { type Command, Option } from "commander";
import { type Config, loadConfig } from "../setup/config.ts";
import { failuresOf } from "../status/failures.ts";
import { problemsOf } from "../status/problems.ts";
import type { Report } from "../status/report.ts";
import { schedulesOf } from "../status/schedules.ts";
import { apiAnswers, serverStatuses } from "../status/servers.ts";
import { streamsOf } from "../status/streams.ts";
import { reportText } from "../status/tables.ts";
import { viewsOf } from "../status/views.ts";

/** Adds `tideline status`. */
export function registerStatus(program: Command): void {
  program
    .command("status")
    .addHelpText("after", "\nExamples:\n  $ tideline status\n  $ tideline status --json | jq .problems\n")
    .description("show the status of streams, views and schedules; exit code 1 when something is not healthy")
    .addOption(new Option("--json", "as JSON").default(false))
    .action(async ({ json }: { json: boolean }) => {
      const report = await findReport(loadConfig(process.env));
      process.stdout.write(json ? `${JSON.stringify(report, null, 1)}\n` : await reportText(report));
      process.exitCode = report.healthy ? 0 : 1;
    });
}

async function findReport(config: Config): Promise<Report> {
  const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
  const definitions = await loadDefinitions(config);
  const [kafka, temporal, api, failing] = await Promise.all([
    streamsOf(config, definitions),
    schedulesOf(config),
    apiAnswers(config),
    failuresOf(config, definitions),
  ]);
  const redis = await viewsOf(config, definitions, kafka.ends);
  const servers = serverStatuses(config, {
    kafka: kafka.reachable,
    redis: redis.reachable,
    temporal: temporal.reachable,
    api,
  });
  const found = { servers, streams: kafka.streams, views: redis.views, schedules: temporal.schedules, ...failing };
  const problems = problemsOf(found);
  return { healthy: problems.length === 0, problems, ...found };
}
