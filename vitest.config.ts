import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { SYSTEM, UNIT } from "./test/tiers.ts";

const root = fileURLToPath(new URL(".", import.meta.url));

/** A tier of the tests. Tiers run one after the other. */
const tier = (name: string, groupOrder: number, files: { include: string[]; exclude?: string[] }) => ({
  extends: true as const,
  test: { name, ...files, sequence: { groupOrder }, ...(name === "unit" ? {} : { globalSetup: "./test/servers.ts" }) },
});

export default defineConfig({
  // What cli/own-imports.js does for the command.
  resolve: {
    alias: [
      { find: /^tideline$/, replacement: `${root}core/builders.ts` },
      { find: /^tideline\/schemas\/(.*)$/, replacement: `${root}schemas/$1.ts` },
    ],
  },
  test: {
    pool: "forks",
    // Two cores: files that run beside each other would only wait for each other's servers.
    fileParallelism: false,
    // Only what hangs reaches these: machines differ by a factor of two and more.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // Servers end in order.
    teardownTimeout: 60_000,
    projects: [
      tier("unit", 0, { include: UNIT }),
      tier("servers", 1, { include: ["test/**/*.test.ts"], exclude: [...UNIT, ...SYSTEM] }),
      tier("system", 2, { include: SYSTEM }),
    ],
  },
});
