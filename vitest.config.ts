import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const root = fileURLToPath(new URL(".", import.meta.url));

export default defineConfig({
  // What cli/own-imports.js does for the command.
  resolve: {
    alias: [
      { find: /^tideline$/, replacement: `${root}core/builders.ts` },
      { find: /^tideline\/schemas\/(.*)$/, replacement: `${root}schemas/$1.ts` },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "./test/servers.ts",
    pool: "forks",
    // Two cores: files that run beside each other would only wait for each other's servers.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Servers end in order.
    teardownTimeout: 60_000,
  },
});
