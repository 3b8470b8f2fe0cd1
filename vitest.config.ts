import { defineConfig } from "vitest/config";

export default defineConfig({
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
