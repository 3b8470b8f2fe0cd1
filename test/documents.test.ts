import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { Installation } from "./installation.ts";

/** What the documents say is done and compared: `docs/your-own-data.md` to the letter, the tables of the others by what the code has. */

const documents = ["README.md", ...(await readdir("docs")).map((name) => join("docs", name))];
const textOf = (file: string) => readFile(file, "utf8");

/** A step of a document: a file to write, or a command and what it prints (`…` is anything). */
type Step = { readonly file: string; readonly content: string } | { readonly command: string; readonly prints: string };

/** A fenced block after a line that is a path and a colon is a file; a block of `console` has commands after `$`. */
function stepsOf(markdown: string): Step[] {
  const blocks = markdown.matchAll(/(?:^`(?<file>~[^`]+)`:\n\n)?^```(?<kind>\w+)\n(?<body>.*?)^```$/gms);
  return [...blocks].flatMap(({ groups: { file, kind, body = "" } = {} }): Step[] => {
    if (file !== undefined) return [{ file, content: body }];
    if (kind !== "console") return [];
    return body
      .split(/^\$ /m)
      .slice(1)
      .map((part) => {
        const [command = "", ...prints] = part.trimEnd().split("\n");
        return { command, prints: prints.join("\n") };
      });
  });
}

/** Whether a command printed what the document shows. A line that is `…` alone stands for any lines, also none. */
function isShown(prints: string, output: string): boolean {
  const quoted = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const lines = prints
    .split("\n")
    .map((line) => (line === "…" ? "(?:.*\n)*?" : `${line.trimEnd().split("…").map(quoted).join(".*")}\n`));
  return new RegExp(`^${lines.join("")}$`).test(output.trimEnd() === "" ? "\n" : `${output.trimEnd()}\n`);
}

/** A worker makes its schedules, and here nobody would ever work on what they start again. */
async function removeSchedules(namespace: string): Promise<void> {
  const connection = await Connection.connect({ address: inject("temporalAddress") });
  const { schedule } = new Client({ connection });
  for await (const { scheduleId } of schedule.list())
    if (scheduleId.startsWith(`${namespace}/`)) await schedule.getHandle(scheduleId).delete();
  await connection.close();
}

describe("docs/your-own-data.md", () => {
  let home: string;
  let tideline: Installation | null = null;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "tideline-documents-"));
  });
  afterAll(async () => {
    await tideline?.close();
    if (tideline !== null) await removeSchedules(tideline.namespace);
    await rm(home, { recursive: true, force: true });
  });

  test("does what it says, from the first file to the last", { timeout: 240_000 }, async () => {
    const exports: string[] = [];
    const shell = (command: string) =>
      execa("bash", ["-c", [...exports, command].join("\n")], {
        env: { ...tideline?.env, HOME: home, npm_config_loglevel: "error" },
        all: true,
        reject: false,
        stdin: "ignore",
      });
    for (const step of stepsOf(await textOf("docs/your-own-data.md"))) {
      if ("file" in step) {
        const path = step.file.replace("~", home);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, step.content);
      } else if (step.command.startsWith("export ")) {
        exports.push(step.command);
      } else if (step.command === "npx tideline up --no-simulate") {
        // The servers are there: what `up` starts beside them.
        if (tideline === null) {
          const { stdout } = await shell("env");
          const own = stdout.split("\n").filter((line) => /^TIDELINE_(SCHEMAS|VIEWS)=/.test(line));
          tideline = await Installation.open("documents", Object.fromEntries(own.map((line) => line.split("="))));
        } else for (const role of ["serve", "worker", "speed"]) await tideline.stop(role);
        for (const role of ["speed", "worker", "serve"] as const) await tideline.start(role);
      } else {
        const command = step.command.replace("http://127.0.0.1:7070", tideline?.apiUrl ?? "");
        const asks = / (query|views compare) | curl /.test(` ${command}`);
        const deadlineMs = performance.now() + (asks ? 60_000 : 0);
        let output = "";
        do output = (await shell(command)).all;
        while (!isShown(step.prints, output) && performance.now() < deadlineMs);
        if (!isShown(step.prints, output)) expect(output, command).toBe(step.prints);
      }
    }
  });
});
