import { TidelineError } from "../../core/errors.ts";
import { eventData } from "../../core/event-stream.ts";
import { separated } from "../../core/secrets.ts";
import type { AnswerBody } from "../../serving/answer/answer-schemas.ts";
import { numberColumns, rowsJson } from "../../serving/common/numbers.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { pause } from "../../store/pause.ts";
import type { Config } from "../setup/config.ts";
import { printableLines } from "../terminal/printable.ts";
import { interruptible } from "../terminal/progress.ts";
import { answerText, apiSilent, problemExitCode, problemText } from "./answer-text.ts";
import { type QueryFlags, queryUrl } from "./view-query.ts";

export interface WatchOptions extends QueryFlags {
  /** The least time between two answers, in milliseconds. */
  readonly interval: number;
  /** Ends after this many answers; absent: with Ctrl+C. */
  readonly count?: number;
}

const RECONNECT_MS = 1_000;

/** Follows a view's live answers until Ctrl+C. If the server goes away, connects again until it is back. */
export async function watch(config: Config, view: string | undefined, options: WatchOptions): Promise<void> {
  const name = view ?? (await firstView(config));
  const url = queryUrl(config.apiUrl, name, options, "/live");
  url.searchParams.set("interval", String(options.interval));
  // Numbers are asked for as text, because JSON.parse would round long ones.
  url.searchParams.set("numbers", "text");
  const screen = process.stdout.isTTY ? new Screen(name) : new Lines();
  try {
    const { url: plain, headers } = separated(url, config.apiKey);
    const request = { url: plain, headers: { ...headers, accept: "text/event-stream" } };
    await interruptible((stop) => follow(request, options.count ?? Number.POSITIVE_INFINITY, screen, stop));
  } finally {
    screen.close();
  }
}

async function firstView(config: Config): Promise<string> {
  const [name] = (await loadDefinitions(config)).views.keys();
  if (name !== undefined) return name;
  throw new TidelineError("VIEW_UNKNOWN", "there is no view", "Set TIDELINE_VIEWS to folders of view definitions.");
}

interface FollowedRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

async function follow(
  { url, headers }: FollowedRequest,
  count: number,
  screen: Display,
  stop: AbortSignal,
): Promise<void> {
  let shown = 0;
  while (shown < count && !stop.aborted) {
    try {
      const response = await fetch(url, { headers, signal: stop });
      if (!response.ok) return refused(response.status, await response.text());
      for await (const { event, data } of eventData(response.body ?? new ReadableStream())) {
        if (event !== "answer") continue;
        await screen.show(JSON.parse(data) as AnswerBody);
        shown += 1;
        if (shown >= count) return;
      }
    } catch (error) {
      if (stop.aborted) return;
      if (shown === 0) throw apiSilent(url, error);
    }
    screen.lost(url);
    await pause(RECONNECT_MS, { signal: stop });
  }
}

function refused(status: number, text: string): void {
  process.stderr.write(problemText(status, text));
  process.exitCode = problemExitCode(status);
}

interface Display {
  show(answer: AnswerBody): Promise<void>;
  /** Called when the server has gone away, before the next attempt. */
  lost(url: URL): void;
  close(): void;
}

/** Prints a line of JSON for each answer. */
class Lines implements Display {
  async show({ asOf, rows, fields, complete, freshnessMs }: AnswerBody): Promise<void> {
    const { json } = rowsJson(rows, numberColumns(fields), "number");
    const head = JSON.stringify({ asOf, complete, freshnessMs }).slice(0, -1);
    process.stdout.write(printableLines(`${head},"rows":[${json}]}\n`));
  }

  lost({ origin }: URL): void {
    process.stderr.write(`${origin} does not answer; asking again\n`);
  }

  close(): void {}
}

/** Redraws in place on the terminal's alternate screen, so that the earlier contents come back at the end. */
class Screen implements Display {
  readonly #view: string;
  #last = "";

  constructor(view: string) {
    this.#view = view;
    process.stdout.write("\x1b[?1049h\x1b[?25l");
  }

  async show(answer: AnswerBody): Promise<void> {
    this.#last = await answerText(answer);
    this.#draw(`${this.#view}   ${new Date().toLocaleTimeString()}   Ctrl+C ends`);
  }

  lost({ origin }: URL): void {
    this.#draw(`${this.#view}   ${origin} does not answer; asking again. Below: the last answer`);
  }

  close(): void {
    process.stdout.write(`\x1b[?25h\x1b[?1049l${this.#last}`);
  }

  /** A table that does not fit on the screen is cut at its end, because its foot has the answer's position. */
  #draw(title: string): void {
    const lines = this.#last.trimEnd().split("\n");
    const room = Math.max(4, process.stdout.rows - 2);
    const shown = lines.length <= room ? lines : [...lines.slice(0, room - 2), "…", lines.at(-1) ?? ""];
    process.stdout.write(`\x1b[H${[title, ...shown].map((line) => `${line}\x1b[K`).join("\n")}\x1b[J`);
  }
}
