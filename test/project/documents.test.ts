import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { settings } from "../../cli/setup/config.ts";
import { createProgram } from "../../cli/tideline.ts";
import { ALLOWED_FUNCTIONS } from "../../core/contract/functions.ts";
import * as builders from "../../core/definition/builders.ts";
import { TidelineError } from "../../core/errors.ts";
import { formulaMutants } from "../../faults/mutants/formulas.ts";
import { mutants } from "../../faults/mutants/mutants.ts";
import { PROBLEM_CODES, refusalOf } from "../../serving/common/problem.ts";
import { openApiDocument } from "../../serving/openapi/openapi.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { Installation } from "../fixtures/servers/installation.ts";

/**
 * What the documents say is done and compared: `docs/your-own-data.md` to the letter, the tables of the others by what
 * the code has.
 */

const documents = [
  ...(await readdir(".")).filter((name) => name.endsWith(".md")),
  ...(await readdir("docs", { recursive: true })).flatMap((name) => (name.endsWith(".md") ? [join("docs", name)] : [])),
  "test/README.md",
];
const textOf = (file: string) => readFile(file, "utf8");

/** Codes that only clients of the HTTP API meet: they are explained there, the others in docs/operating.md. */
const OF_HTTP_ALONE = [
  "TOO_LARGE",
  "TABLE_UNKNOWN",
  "KEY_UNKNOWN",
  "COLUMN_FAILED",
  "NOT_FOUND",
  "METHOD_NOT_ALLOWED",
  "HOST_NOT_ALLOWED",
  "UNAUTHENTICATED",
  "FORBIDDEN",
  "URI_TOO_LONG",
  "TOO_MANY_REQUESTS",
  "TOO_MANY_STREAMS",
  "NOT_REACHED",
  "GENERATION_GONE",
  "POSITION_GONE",
  "TOO_SLOW",
  "INTERNAL",
];

/** A step of a document: a file to write, or a command and what it prints (`…` is anything). */
type Step = { readonly file: string; readonly content: string } | { readonly command: string; readonly prints: string };

/** A fenced block after a line that is a path and a colon is a file; a block of `console` has commands after `$`. */
function stepsOf(markdown: string): Step[] {
  const blocks = markdown.matchAll(/(?:^`(?<file>~[^`]+)`:\n\n)?^```(?<kind>\w+)\n(?<body>.*?)^```$/gms);
  return [...blocks].flatMap(({ groups }): Step[] => {
    const { file, kind, body = "" } = groups as { file?: string; kind?: string; body?: string };
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

const ROLES = ["speed", "worker", "serve"] as const;

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

  test("does what it says, from the first file to the last", { timeout: 900_000 }, async () => {
    // npx takes a second by itself. `npx tideline` runs this file.
    const exports: string[] = [`npx() { shift; node ${join(process.cwd(), "cli", "tideline.js")} "$@"; }`];
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
      } else if (step.command === "npx tideline up") {
        // The servers are there: what `up` starts beside them. A later one is after Ctrl+C.
        if (tideline === null) {
          const { stdout } = await shell("env");
          const own = stdout.split("\n").filter((line) => /^TIDELINE_SYSTEM=/.test(line));
          tideline = await Installation.open("documents", Object.fromEntries(own.map((line) => line.split("="))));
        } else await Promise.all(ROLES.map((role) => tideline?.stop(role)));
        await Promise.all(ROLES.map((role) => tideline?.start(role)));
      } else {
        const command = step.command.replace("http://127.0.0.1:7070", tideline?.apiUrl ?? "");
        const asks = / (query|views compare) | curl /.test(` ${command}`);
        const deadlineMs = performance.now() + (asks ? 180_000 : 0);
        let output = "";
        // The document's installation has no namespace.
        for (;;) {
          output = (await shell(command)).all.replaceAll(`${tideline?.namespace}.`, "");
          if (isShown(step.prints, output) || performance.now() >= deadlineMs) break;
          // The roles need the processor to get there.
          await delay(1_000);
        }
        if (!isShown(step.prints, output)) expect(output, command).toBe(step.prints);
      }
    }
  });
});

describe("the documents", () => {
  const linesOf = (markdown: string) => markdown.split("\n");
  /** How GitHub makes an anchor of a heading. */
  const anchorOf = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, "")
      .replaceAll(" ", "-");
  const anchorsOf = (markdown: string) =>
    linesOf(markdown).flatMap((line) => (/^#{1,6} /.test(line) ? [anchorOf(line.replace(/^#+ /, ""))] : []));
  const codesIn = (source: string) => [...source.matchAll(/^ {2}\| "([A-Z_]+)"/gm)].map(([, code = ""]) => code);

  test.each(documents)("%s links to what is there", async (file) => {
    const broken: string[] = [];
    for (const [, target = ""] of (await textOf(file)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (target.includes("://")) continue;
      const [path = "", anchor] = target.split("#");
      const to = path === "" ? file : join(dirname(file), path);
      if (!existsSync(to)) broken.push(target);
      else if (anchor !== undefined && !anchorsOf(await textOf(to)).includes(anchor)) broken.push(target);
    }
    expect(broken).toEqual([]);
  });

  test("show commands and flags that exist", async () => {
    const program = await createProgram();
    const unknown: string[] = [];
    for (const file of documents)
      for (const [shown = "", rest = ""] of (await textOf(file)).matchAll(/npx tideline ([^\n`|;)]+)/g)) {
        let command = program;
        const [words = ""] = rest.split(/ {2,}/);
        for (const word of words.split(" ")) {
          const inner = command.commands.find((one) => one.name() === word);
          if (inner === undefined) break;
          command = inner;
        }
        const flags = [...words.matchAll(/(?<= )--[a-z-]+/g)].map(([flag]) => flag);
        const known = command.options.map(({ long }) => long);
        const wrong = flags.filter((flag) => flag !== "--help" && !known.includes(flag));
        if ((command === program && !words.startsWith("<")) || wrong.length > 0) unknown.push(`${file}: ${shown}`);
      }
    expect(unknown).toEqual([]);
  });

  test("list every setting as `tideline config` does", async () => {
    // The formatter pads the columns of tables.
    const operating = linesOf(await textOf("docs/operating.md")).map((line) => line.replaceAll(/ +/g, " "));
    const rows = Object.values(settings).map(
      ({ variable, byDefault, description }) => `| \`${variable}\` | ${byDefault} | ${description} |`,
    );
    expect(operating).toEqual(expect.arrayContaining(rows));
  });

  test("explain every error code, once", async () => {
    const operating = await textOf("docs/operating.md");
    const codes = codesIn(await textOf("core/errors.ts"));
    expect(codes.length).toBeGreaterThan(60);
    expect(codes.filter((code) => operating.split(`\n| \`${code}\``).length !== 2)).toEqual(OF_HTTP_ALONE);
    expect(PROBLEM_CODES).toEqual(expect.arrayContaining(OF_HTTP_ALONE));
  });

  test("give every code of the HTTP API the status that it is sent with, and no other", async () => {
    const rows = linesOf(await textOf("docs/http-api.md")).flatMap((line) => {
      const [, status, code] = /^\| (\d+) +\| `([A-Z_]+)` +\|/.exec(line) ?? [];
      return code === undefined ? [] : [`${status} ${code}`];
    });
    const sent = PROBLEM_CODES.map((code) => `${refusalOf(new TidelineError(code, "", "")).problem.status} ${code}`);
    expect(rows.toSorted()).toEqual(sent.toSorted());
  });

  test("name every route and parameter of the HTTP API", async () => {
    const api = await textOf("docs/http-api.md");
    const { views } = await loadDefinitions({ schemas: ["schemas"], views: ["systems/shop/views"] });
    const document = openApiDocument(
      [...views.values()].map((definition) => ({ definition, types: new Map() })),
      { joined: [], version: "0", policy: { isLocal: true, isRequired: false } },
    ) as {
      paths: Record<string, { get?: { parameters?: readonly { name: string; in: string }[] } }>;
    };
    const names = Object.entries(document.paths).flatMap(([path, { get }]) => [
      path.replace(/^\/views\/[^/]+/, "/views/:name").replace(/\{(\w+)\}/, ":$1"),
      ...(get?.parameters ?? []).filter((one) => one.in !== "path").map(({ name }) => name.replace(/\[.*/, "")),
    ]);
    expect(names.length).toBeGreaterThan(20);
    expect([...new Set(names)].filter((name) => !api.includes(`\`${name}`) && !api.includes(`GET ${name}\``))).toEqual(
      [],
    );
  });

  test("name every builder, function, workflow and metric", async () => {
    const own = await textOf("docs/your-own-data.md");
    const operating = await textOf("docs/operating.md");
    const missing = (text: string, names: readonly string[]) =>
      names.filter((name) => !new RegExp(`(?<!\\w)${name}(?!\\w)`).test(text));
    const functions = [...ALLOWED_FUNCTIONS].filter((name) => /^\w+$/.test(name) && !name.endsWith("like_escape"));
    const sources = await Promise.all(
      ["speed-layer", "activities", "serving/operations"].map((room) => textOf(join(room, "metrics.ts"))),
    );
    const metrics = sources.flatMap((source) => source.match(/tideline_\w+/g) ?? []);
    const workflows = [...(await textOf("workflows/index.ts")).matchAll(/export \{ (\w+) \}/g)].map(
      ([, name = ""]) => name,
    );
    expect(metrics.length).toBeGreaterThan(10);
    expect(workflows.length).toBeGreaterThan(8);
    expect(missing(own, [...Object.keys(builders), ...functions])).toEqual([]);
    expect(missing(operating, [...workflows.filter((name) => name !== "scheduledRun"), ...metrics])).toEqual([]);
  });

  test("list every mutant with what it breaks and a test that is there, and count them", async () => {
    const page = (await textOf("docs/internals/mutants.md")).replaceAll(/ +/g, " ");
    const rows = [
      ...mutants.map(({ name, what, necessary }) => `| \`${name}\` | ${what} | ${necessary ? "yes " : ""}| `),
      ...formulaMutants.map(({ name, what }) => `| \`${name}\` | ${what} | `),
    ];
    expect(rows.filter((row) => page.split(`\n${row}`).length !== 2)).toEqual([]);
    expect(page.match(/^\| `/gm)).toHaveLength(rows.length);
    const tests = [...page.matchAll(/`(test\/\S+\.ts)`/g)].map(([, path = ""]) => path);
    expect(tests.filter((path) => !existsSync(path))).toEqual([]);
    const needed = mutants.filter(({ necessary }) => necessary).length;
    const counted = (await textOf("docs/exactness.md")).replaceAll(/\s+/g, " ");
    expect(counted).toContain(`${mutants.length} of the protocol and ${formulaMutants.length} of the formulas`);
    expect(counted).toContain(`what ${needed} of the ${mutants.length} take away`);
    expect(counted).toContain(`All ${needed} are found`);
    expect(counted).toContain(`The other ${mutants.length - needed} `);
  });
});
