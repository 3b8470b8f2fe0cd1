import { type Command, Option } from "commander";
import { isDate } from "../../core/interval.ts";
import { separated } from "../../core/secrets.ts";
import type { AnswerBody } from "../../serving/answer/answer-schemas.ts";
import { answerText } from "../query/answer-text.ts";
import { askApi } from "../query/ask-api.ts";
import { addQueryFlags, type QueryFlags, queryUrl } from "../query/view-query.ts";
import { type Config, loadConfig } from "../setup/config.ts";
import { printableLines } from "../terminal/printable.ts";

const examples = `
Examples:
  $ tideline query revenue                                        the last 24 hours of event time
  $ tideline query revenue --every 1h --by region --measures revenue,buyers --order=-revenue --limit 10
  $ tideline query revenue --where region=eu --where region=us --by "" --every 1d
  $ tideline query revenue --from 2026-01-01 --to 2026-04-01 --every 1mo         January to March, a row a month
  $ tideline query revenue --from 2026-01-01 --to 2026-04-01 --every all         the same in one row
  $ tideline query revenue --min order-completed:0:4711 --wait 30s      with what \`tideline send\` has just sent
`;

interface Flags extends QueryFlags {
  readonly at?: string;
  readonly min?: string;
  readonly wait?: string;
  readonly json: boolean;
  readonly url: boolean;
}

/** Adds `tideline query`. */
export function registerQuery(program: Command): void {
  const command = program
    .command("query")
    .description("query a view, and show the rows as a table")
    .argument("<view>", "which view; GET /views lists them");
  addQueryFlags(command)
    .option("--at <asOf>", "exactly the position of an earlier answer")
    .option(
      "--min <position>",
      "an answer that includes this position: what `tideline send` prints, or the asOf of an answer",
    )
    .option("--wait <duration>", "how long to wait for --min at most, up to 30s; 5s when absent")
    .addOption(new Option("--json", "print the answer as it came").default(false))
    .addOption(new Option("--url", "print the URL that would be asked, and ask nothing").default(false))
    .addHelpText("after", examples)
    .action(async (view: string, flags: Flags) => {
      const config = loadConfig(process.env);
      const url = queryUrl(config.apiUrl, view, flags);
      for (const name of ["at", "min", "wait"] as const)
        if (flags[name] !== undefined) url.searchParams.set(name, flags[name]);
      if (flags.to !== undefined && isDate(flags.to)) process.stderr.write(dateHint(flags.to));
      // Numbers are asked for as text, because JSON.parse would round long ones.
      if (!flags.json && !flags.url) url.searchParams.set("numbers", "text");
      if (flags.url) process.stdout.write(`${separated(url).url.href}\n`);
      else await ask(url, config, flags.json);
    });
}

/** Returns a hint about `--to`: `tideline backfill --to` includes the date's day, so people expect the same here. */
function dateHint(to: string): string {
  return `--to ${to}: up to the first moment of that day, so the day itself is not in the answer\n`;
}

async function ask(url: URL, config: Config, json: boolean): Promise<void> {
  const text = await askApi(url, config);
  if (text !== null)
    process.stdout.write(json ? printableLines(`${text}\n`) : await answerText(JSON.parse(text) as AnswerBody));
}
