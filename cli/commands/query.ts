import { type Command, Option } from "commander";
import { separated } from "../../core/secrets.ts";
import type { AnswerBody } from "../../serving/answer.ts";
import { answerText, apiSilent, problemExitCode, problemText } from "../answer-text.ts";
import { loadConfig } from "../config.ts";
import { addQueryFlags, type QueryFlags, queryUrl } from "../view-query.ts";

const examples = `
Examples:
  $ tideline query revenue                                        the last 24 hours of event time
  $ tideline query revenue --every 1h --by region --measures revenue,buyers --order=-revenue --limit 10
  $ tideline query revenue --where region=eu --where region=us --by "" --every 1d
`;

/** Adds `tideline query`. */
export function registerQuery(program: Command): void {
  const command = program
    .command("query")
    .description("ask a view, and show its answer as a table")
    .argument("<view>", "which view; GET /views lists them");
  addQueryFlags(command)
    .addOption(new Option("--json", "print the answer as it came").default(false))
    .addOption(new Option("--url", "print the URL that would be asked, and ask nothing").default(false))
    .addHelpText("after", examples)
    .action(async (view: string, flags: QueryFlags & { readonly json: boolean; readonly url: boolean }) => {
      const url = queryUrl(loadConfig(process.env).apiUrl, view, flags);
      if (flags.url) process.stdout.write(`${separated(url).url.href}\n`);
      else await ask(url, flags.json);
    });
}

async function ask(url: URL, json: boolean): Promise<void> {
  const { url: plain, headers } = separated(url);
  const response = await fetch(plain, { headers }).catch((cause: unknown) => {
    throw apiSilent(url, cause);
  });
  const text = await response.text();
  if (!response.ok) {
    process.stderr.write(problemText(response.status, text));
    process.exitCode = problemExitCode(response.status);
  } else {
    process.stdout.write(json ? `${text}\n` : await answerText(JSON.parse(text) as AnswerBody));
  }
}
