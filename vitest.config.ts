import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/longest-first.ts";
import { MODULES, SYSTEM, UNIT } from "./test/tiers.ts";

const root = fileURLToPath(new URL(".", import.meta.url));

// A Kafka of the tests runs for minutes. The optimising compiler would use more processor time than it saves.
process.env.JAVA_TOOL_OPTIONS ??= "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC";

const ROOMS = [
  "activities",
  "batch-layer",
  "cli",
  "core",
  "deliveries",
  "monitor",
  "discover",
  "ingest",
  "rules",
  "schemas",
  "serving",
  "speed-layer",
  "stack",
  "store",
  "systems",
  "workflows",
];

interface Files {
  readonly include: string[];
  readonly exclude?: string[];
}

/** Tests that need no server keep a core busy each. */
const busy = (name: string, files: Files) => ({
  extends: true as const,
  test: { name, ...files, maxWorkers: 2, sequence: { groupOrder: 0 } },
});

/** Tests that use servers wait for most of the time. They begin when the others have ended. */
const waiting = (name: string, files: Files) => ({
  extends: true as const,
  test: {
    name,
    ...files,
    maxWorkers: 2,
    sequence: { groupOrder: 1 },
    globalSetup: "./test/servers.ts",
    setupFiles: "./test/compiled-program.ts",
  },
});

export default defineConfig({
  // What cli/own-imports.js does for the command.
  resolve: {
    alias: [
      { find: /^tideline$/, replacement: `${root}core/definition/builders.ts` },
      { find: /^tideline\/schemas\/(.*)$/, replacement: `${root}schemas/$1.ts` },
    ],
  },
  test: {
    pool: "forks",
    // Loading the modules of one file takes up to three seconds: files of a process share them.
    isolate: false,
    // Only what hangs reaches these: machines differ by a factor of two and more.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 120_000 } },
    // Servers end in order.
    teardownTimeout: 60_000,
    sequence: { sequencer: LongestFirst },
    // Of the tiers without servers: what runs in processes of its own is not seen.
    coverage: {
      include: ROOMS.map((room) => `${room}/**/*.ts`),
      reporter: ["text-summary"],
      reportsDirectory: ".tideline/coverage",
    },
    projects: [
      busy("unit", { include: UNIT }),
      busy("modules", { include: MODULES }),
      waiting("servers", { include: ["test/**/*.test.ts"], exclude: [...UNIT, ...MODULES, ...SYSTEM] }),
      waiting("system", { include: SYSTEM }),
    ],
  },
});
